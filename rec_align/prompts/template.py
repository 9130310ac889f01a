"""Templates: the text around the fields of an example, and how a template falls into slots.

Text only; `rec_align/pipeline/templates.py` fills the slots. A template's `inputs` is a sentence
with placeholders, its `targets` is one placeholder. Punctuation that touches a placeholder belongs
to it ('{item}:' is written 'Heat:'), because tokens are made part by part and words must not be
torn.
"""

import dataclasses
import re

PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True)
class Slot:
    """One piece of a template: plain text, or a field with the punctuation that touches it.

    Attributes:
      text: plain text; '' where the slot is a field.
      field: the field's name; '' where the slot is plain text.
      prefix: what touches the field on the left, '(' in '({item})'.
      suffix: what touches it on the right, ')' in '({item})'.
    """

    text: str = ""
    field: str = ""
    prefix: str = ""
    suffix: str = ""


def parse(text: str) -> tuple[Slot, ...]:
    """Cuts a template into slots.

    Example:
      >>> parse("Rate {item}: now")
      (Slot(field='item', ...suffix=':')) between the plain texts 'Rate' and 'now'

    Raises:
      ValueError: two placeholders touch each other.
    """
    slots: list[Slot] = []
    for word in text.split():
        fields = PLACEHOLDER.findall(word)
        if len(fields) > 1:
            raise ValueError(f"template {text!r}: put a space between the placeholders of {word!r}")
        if fields:
            prefix, suffix = PLACEHOLDER.sub("\0", word).split("\0")
            slots.append(Slot(field=fields[0], prefix=prefix, suffix=suffix))
        elif slots and slots[-1].text:
            slots[-1] = Slot(text=f"{slots[-1].text} {word}")
        else:
            slots.append(Slot(text=word))
    return tuple(slots)


@dataclasses.dataclass(frozen=True)
class Template:
    """One way of asking.

    Attributes:
      inputs: the prompt, with placeholders.
      targets: one placeholder: which field is the answer.
    """

    inputs: str
    targets: str = "{target}"

    def __post_init__(self) -> None:
        if not PLACEHOLDER.fullmatch(self.targets):
            raise ValueError(f"targets={self.targets!r} must be one placeholder, like '{{target}}'")

    @property
    def input_slots(self) -> tuple[Slot, ...]:
        return parse(self.inputs)

    @property
    def target_field(self) -> str:
        return self.targets[1:-1]

    @property
    def fields(self) -> frozenset[str]:
        """The fields the template needs, on either side."""
        return frozenset(slot.field for slot in self.input_slots if slot.field) | {
            self.target_field
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """The templates of one task family.

    Attributes:
      name: the task's name, as in `{corpus}_{name}`.
      seen: training draws among these; evaluation uses the first.
      unseen: never trained on; `{corpus}_{name}_unseen` evaluates with it.
    """

    name: str
    seen: tuple[Template, ...]
    unseen: Template

    @property
    def templates(self) -> tuple[Template, ...]:
        return (*self.seen, self.unseen)
