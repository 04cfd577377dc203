"""What a reward model does in the Rank tab: sorts what is to be ranked, and shows its scores on demand."""

from __future__ import annotations

from textual import on

from workbench.errors import WorkbenchError
from workbench.tui.notices import notify, notify_error
from workbench.tui.playground.setup import ModelChoice
from workbench.tui.rank.choice_screen import ChoiceScreen
from workbench.tui.rank.item_scores import ItemScores
from workbench.tui.rank.scoring import Scored, Scorer, ScoringSays
from workbench.tui.rank.session_actions import SessionActions
from workbench.tui.text import reveal_control

OTHER, SHOW, HIDE, END = "/other", "/show", "/hide", "/end"


class ScoringActions(SessionActions):
    """The part of the tab that asks a reward model."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._scorer: Scorer | None = None

    @property
    def scorer(self) -> Scorer:
        """Who scores, made when it is first asked for."""
        if self._scorer is None:
            self._scorer = Scorer(self.desk, self.post_message)
        return self._scorer

    def end_scoring(self) -> None:
        """The session is another: nothing is scored any more."""
        if self._scorer is not None:
            self._scorer.stop()

    def close_scoring(self) -> None:
        """The tab is closed."""
        if self._scorer is not None:
            self._scorer.close()

    def action_score(self) -> None:
        """Choose a reward model, or what is done with the one there is."""
        ranker = self.ranking.ranker
        if ranker is None:
            return
        if ranker.scores.model:
            choices = [
                (HIDE, "hide its scores", "rank without knowing them")
                if ranker.scores.shown
                else (SHOW, "show its scores", "beside the answers; knowing them, one agrees too easily"),
                (END, "end it", "what is to be ranked comes in the session's order again"),
            ]
            self.app.push_screen(ChoiceScreen(ranker.scores.model, choices), self._scoring_chosen)
            return
        self.run_worker(self._offer, thread=True, group="sessions-actions")

    def _offer(self) -> None:
        from workbench.store.runs import list_runs

        runs = [run for run in list_runs() if run.status().objective == "reward" and run.final_path.is_dir()]
        choices = [(run.name, reveal_control(run.name), "a reward model of yours") for run in runs]
        choices.append((OTHER, "another", "a folder, or SERVER/NAME, or URL NAME"))
        self.app.call_from_thread(
            self.app.push_screen,
            ChoiceScreen("What it is least sure of comes first", choices),
            self._scoring_chosen,
        )

    def _scoring_chosen(self, choice: str | None) -> None:
        ranker = self.ranking.ranker
        if choice is None or ranker is None:
            return
        if choice == OTHER:
            self.ask("A reward model (run, folder, SERVER/NAME or URL NAME):", self._score_by)
        elif choice == END:
            self.end_scoring()
            ranker.scores = ItemScores()
            self.ranking.draw()
        elif choice in (SHOW, HIDE):
            ranker.scores.shown = choice == SHOW
            self.ranking.draw()
        else:
            self._score_by(choice)

    def _score_by(self, name: str) -> None:
        session = self.session

        def find() -> None:
            from workbench.tui.playground.catalog import choice_of

            try:
                found = choice_of(name)
            except WorkbenchError as error:
                notify_error(self.app, error)
                return
            self.app.call_from_thread(self._start_scoring, found, session)

        self.run_worker(find, thread=True, group="sessions-actions")

    def _start_scoring(self, choice: ModelChoice, session: str) -> None:
        ranker = self.ranking.ranker
        if ranker is not None and ranker.session_name == session:
            ranker.scores = ItemScores(reveal_control(choice.label))
            self.scorer.start(choice, session)
            self.ranking.draw()

    @on(ScoringSays)
    def _scoring_says(self, message: ScoringSays) -> None:
        message.stop()
        if self.ranking.ranker is not None:
            self.ranking.ranker.said = reveal_control(message.words)
            self.ranking.draw()

    @on(Scored)
    def _scored(self, message: Scored) -> None:
        message.stop()
        ranker = self.ranking.ranker
        if ranker is None or ranker.session_name != message.session or not ranker.scores.model:
            self.end_scoring()
            return
        if message.error is not None:
            notify_error(self.app, message.error)
            if not ranker.scores.count:
                ranker.scores = ItemScores()
            else:
                notify(self.app, f"{ranker.scores.count:,} sets of answers were scored; they go first")
        else:
            ranker.scores.take(message.item, message.scores)
        if ranker.scores.count + ranker.scores.unscored <= 1:
            ranker.said = ""  # of the engine that started
        self.ranking.draw()
