"""What the view asks: a line of text, and yes or no."""

from collections.abc import Callable
from typing import ClassVar, Final, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

InputPurpose = Literal["search", "type"]

END_OF_INPUT: Final = "ctrl-d"


class LineInput(Horizontal):
    """One line above the status line, shown while something is typed in. It is opened once it is mounted."""

    DEFAULT_CSS = """
    LineInput { height: 1; display: none; }
    LineInput.open { display: block; }
    LineInput Static { width: auto; }
    LineInput Input { width: 1fr; height: 1; border: none; padding: 0; background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", show=False),
        Binding("ctrl+d", "end_of_input", show=False, priority=True),
    ]

    class ChangedText(Message):
        """Some of the text is typed."""

        def __init__(self, purpose: InputPurpose, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class Entered(Message):
        """Enter; or a key for the script in place of a text. ``is_filter``: only lines with the text are wanted."""

        def __init__(self, purpose: InputPurpose, text: str, keys: tuple[str, ...], *, is_filter: bool) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text
            self.keys = keys
            self.is_filter = is_filter

    class Closed(Message):
        """It was left without an answer."""

        def __init__(self, purpose: InputPurpose) -> None:
            super().__init__()
            self.purpose = purpose

    def __init__(self) -> None:
        super().__init__()
        self._purpose: InputPurpose = "search"
        self._is_filter = False

    def compose(self) -> ComposeResult:
        self._prompt = Static("", markup=False)
        self._input = Input(compact=True)
        yield from (self._prompt, self._input)

    @property
    def is_open(self) -> bool:
        return self.has_class("open")

    def open(
        self, purpose: InputPurpose, prompt: str, text: str = "", *, is_secret: bool = False, is_filter: bool = False
    ) -> None:
        """Take a line. ``is_secret``: it is not shown."""
        self._purpose, self._is_filter = purpose, is_filter
        self._prompt.update(prompt)
        self._input.password = is_secret
        self._input.value = text
        self.add_class("open")
        self._input.focus()

    def close(self) -> None:
        if self.is_open:
            self._shut()
            self.post_message(self.Closed(self._purpose))

    def action_close(self) -> None:
        self.close()

    def _shut(self) -> None:
        self.remove_class("open")
        self._input.value = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_open:
            self.post_message(self.ChangedText(self._purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._enter(event.value)

    def action_end_of_input(self) -> None:
        """Of a script, as in a terminal on an empty line."""
        if self._purpose == "type" and not self._input.value:
            self._enter("", (END_OF_INPUT,))

    def _enter(self, text: str, keys: tuple[str, ...] = ()) -> None:
        self._shut()
        self.post_message(self.Entered(self._purpose, text, keys, is_filter=self._is_filter))


class QuestionLine(Static, can_focus=True):
    """A question above the status line: ``y`` is yes, every other key is no."""

    DEFAULT_CSS = """
    QuestionLine { height: 1; display: none; text-style: reverse; }
    QuestionLine.open { display: block; }
    """

    class Answered(Message):
        """There is no question any more."""

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._then: Callable[[], object] = lambda: None

    @property
    def is_open(self) -> bool:
        return self.has_class("open")

    def ask(self, question: str, then: Callable[[], object]) -> None:
        """Call ``then`` if the answer is yes."""
        self._then = then
        self.update(f"{question}  y: yes, any other key: no")
        self.add_class("open")
        self.focus()

    def close(self) -> None:
        if self.is_open:
            self.remove_class("open")
            self.post_message(self.Answered())

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self.close()
        if event.key == "y":
            self._then()
