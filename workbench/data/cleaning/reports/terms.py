"""Groups of people, and what may be said of them: words whose company the bias report looks at.

Single English words, lower case. The lists follow those of WEAT (Caliskan et al. 2017) and of the reports on
The Pile and C4 (Gao et al. 2020; Dodge et al. 2021), shortened; recipes add their own.
"""

from __future__ import annotations

from workbench.data.cleaning.words import plain_words

IDENTITIES: dict[str, str] = {
    "women": "she her hers herself woman women girl girls female females mother mothers daughter daughters "
    "wife wives sister sisters lady ladies",
    "men": "he him his himself man men boy boys male males father fathers son sons husband husbands "
    "brother brothers gentleman gentlemen",
    "christian": "christian christians christianity church catholic catholics protestant protestants",
    "muslim": "muslim muslims islam islamic mosque",
    "jewish": "jew jews jewish judaism synagogue",
    "hindu": "hindu hindus hinduism",
    "atheist": "atheist atheists atheism",
    "black": "african africans",
    "asian": "asian asians chinese japanese korean koreans indian indians",
    "european": "european europeans british german germans french italian italians",
    "american": "american americans",
    "latino": "latino latinos latina latinas hispanic hispanics mexican mexicans",
    "arab": "arab arabs arabic",
    "immigrants": "immigrant immigrants migrant migrants refugee refugees foreigner foreigners",
    "gay": "gay gays lesbian lesbians homosexual homosexuals bisexual transgender queer",
    "old": "elderly grandfather grandmother grandparents pensioner pensioners seniors",
    "young": "teenager teenagers child children kid kids youth youths",
    "disabled": "disabled disability disabilities blind deaf wheelchair autistic",
}

ATTRIBUTES: dict[str, str] = {
    "career": "executive management professional corporation salary office business career manager boss ceo "
    "director",
    "family": "home parents children family cousins marriage wedding relatives household baby",
    "science": "science technology physics chemistry engineer engineering scientist scientists mathematics "
    "computer programmer research",
    "arts": "poetry art dance literature novel drama sculpture music painting singer actress actor",
    "care": "nurse nurses nursing teacher teachers housekeeper caregiver babysitter secretary cleaner cook",
    "power": "president king leader leaders commander general chief minister senator judge",
    "violence": "kill killed killing murder attack attacked violence violent weapon weapons gun guns bomb "
    "war terror terrorism terrorist terrorists shooting",
    "crime": "crime crimes criminal criminals prison jail arrested thief theft drugs gang illegal guilty",
    "poverty": "poor poverty homeless hunger unemployed debt slum welfare",
    "wealth": "rich wealth wealthy money luxury fortune millionaire",
    "praise": "good great excellent wonderful honest kind brave smart intelligent brilliant beautiful loyal "
    "clever",
    "blame": "bad terrible awful evil stupid lazy ugly dirty weak dishonest cruel ignorant foolish",
    "emotion": "emotional hysterical crying cry love loving gentle sensitive angry afraid hate",
    "looks": "beautiful pretty handsome ugly hair dress slim fat attractive body",
}


def vocabulary(base: dict[str, str], more: dict[str, list[str]]) -> dict[str, list[str]]:
    """The groups of a recipe: its own beside these, or in the place of one of the same name."""
    own = {name: [plain for word in words for plain in plain_words(word)] for name, words in more.items()}
    return {**{name: words.split() for name, words in base.items()}, **own}
