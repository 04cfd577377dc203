"""Steps that look for what should not be in the text: personal data, abuse, test questions, copies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from workbench.recipe.cleaning.quality import StepSection
from workbench.recipe.data_section import Sources

PIIKind = Literal["email", "phone", "ip", "card", "iban", "national", "name"]


class PIIStep(StepSection):
    """Personal data, found by form and check digits, and taken out or told."""

    kinds: list[PIIKind] = Field(
        ["email", "phone", "ip", "card", "iban", "national"],
        description="What is looked for. `name` is not by default: it errs most.",
    )
    action: Literal["scrub", "drop"] = Field(
        "scrub", description="Replace what is found, or drop the record."
    )
    replacement: Literal["tag", "numbered", "example"] = Field(
        "tag",
        description="tag: [EMAIL]; numbered: [EMAIL_1], the same value in a record the same number; "
        "example: an address or number that is nobody's.",
    )
    phone_regions: list[str] = Field(
        default_factory=lambda: ["US", "GB"],
        description="Countries whose national numbers are phone numbers too; those with + always are.",
    )
    national_countries: list[str] = Field(
        default_factory=list,
        description="ISO codes of the countries whose national numbers count. Empty: all that are known.",
    )
    columns: list[str] = Field(
        default_factory=list,
        description="Further columns that are looked at, as [author, url]; ['*']: all but texts and labels. "
        "Arguments of tool calls and names of speakers always are.",
    )
    keep_private_ips: bool = Field(True, description="Leave addresses alone that lead to nobody: 10.0.0.1.")
    allow: list[str] = Field(
        default_factory=list,
        description="Values, or endings of addresses as @python.org, that are public and stay.",
    )
    name_model: str | None = Field(
        None,
        description="For `name`: folder of a transformers token classifier with PER labels, as a run "
        "of the preset tag. Empty: titles and common given names with a capitalised word behind them.",
    )


class ToxicityStep(StepSection):
    """Abuse: word lists and patterns by default, a classifier if you have one."""

    languages: list[str] = Field(
        default_factory=lambda: ["en"], description="Word lists of these languages; see the README for which."
    )
    lists: list[str] = Field(
        default_factory=list, description="Further word lists of yours, one entry a line."
    )
    allow: list[str] = Field(
        default_factory=list, description="Words that are on a list and mean no harm here."
    )
    action: Literal["remove_lines", "drop", "score"] = Field(
        "remove_lines",
        description="Take toxic lines out, drop records with one, or only score and report.",
    )
    line_score: float = Field(
        0.5,
        gt=0,
        le=1,
        description="A line from this score on is toxic: threats 1, slurs 0.9, abuse 0.7, "
        "a vulgar word 0.35, each further one adds.",
    )
    drop_share: float = Field(
        0.3, gt=0, le=1, description="Records of which this share of the lines is toxic are dropped whole."
    )
    classifier: str | None = Field(
        None,
        description="Folder of a transformers sequence classifier that scores each line, beside the lists.",
    )
    classifier_label: str = Field("toxic", description="The label of the classifier that means toxic.")


class DecontaminationStep(StepSection):
    """Records that share n-grams with evaluation sets (Brown et al. 2020, appendix C)."""

    eval_sources: Sources = Field(
        default_factory=list, description="The evaluation sets, as sources; all their texts count."
    )
    n_grams: int = Field(13, ge=3, description="Words in a row that must agree.")
    min_words: int = Field(
        8, ge=3, description="Shorter evaluation texts are not looked for; those between count as a whole."
    )
    max_items: int = Field(
        10,
        ge=1,
        description="N-grams that stand in more evaluation texts than this are phrases, and do not count.",
    )
    action: Literal["drop", "cut"] = Field(
        "drop", description="Drop the record, or cut out the sentences that agree, and keep the rest."
    )


class ExactDuplicatesStep(StepSection):
    """Copies: the first in the order of the sources stays."""

    ignore_case_and_spaces: bool = Field(
        True, description="Compare in lower case, with runs of blanks and line breaks as one blank."
    )
    other_label: Literal["keep", "drop"] = Field(
        "keep",
        description="The same text with another label (ranks, tags, answers) than the first: keep both, or "
        "drop it as `contradictory`.",
    )


def _share(value: Any) -> Any:
    # 70 is a percentage; 1.5 is a slip, and would become a threshold that everything reaches.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value / 100 if number and value >= 2 else value


class NearDuplicatesStep(StepSection):
    """Near copies: MinHash and LSH find candidates (Broder 1997), exact Jaccard decides."""

    threshold: Annotated[float, BeforeValidator(_share)] = Field(
        0.7, gt=0, le=1, description="Jaccard similarity of the sets of n-grams from which on two are copies."
    )
    n_grams: int = Field(5, ge=1, description="Words in a shingle, lower case, without punctuation.")
    num_perm: int = Field(128, ge=16, le=1024, description="Hash functions of a signature.")
    recall: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="Share of pairs at the threshold that must become candidates; "
        "decides how signatures are cut into bands.",
    )
    max_bucket: int = Field(
        100,
        ge=2,
        description="In a bucket of more records than this, each is compared with so many of the first.",
    )

    @model_validator(mode="after")
    def _can_be_found(self) -> NearDuplicatesStep:
        # Bands of one value each find the most: 1 - (1 - threshold)^num_perm.
        best = 1 - (1 - self.threshold) ** self.num_perm
        if best < self.recall:
            raise ValueError(
                f"{self.num_perm} hash functions find at most {best:.0%} of the pairs at threshold "
                f"{self.threshold:g}, less than recall {self.recall:g}; more num_perm, or a higher threshold"
            )
        return self
