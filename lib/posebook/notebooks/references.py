"""References in a notebook's text made links: sections, other notebooks, and the first use of a term of the glossary.

An author writes "section 5", "notebook 2, section 4" or "`2_learner`", and names no address. What a reference points at
is read off the headings, so that a renamed section needs no second change: links made here are unmade first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from posebook.notebooks.links import COURSE, GLOSSARY, ORDER, chapter_of, relative

# Entries of the glossary, by their anchors, and the words in a text that mean them. Words that mean something else as
# often (part, step, cell, head, bound) are left out.
TERMS: dict[str, tuple[str, ...]] = {
    "joint": ("joints", "keypoint", "keypoints"),
    "skeleton": ("skeleton", "skeletons", "limb", "limbs"),
    "left-and-right": ("person-centric", "observer-centric"),
    "presence": ("presence", "occluded"),
    "parsing": ("parsing",),
    "label-map": ("label map", "label maps"),
    "rendered-people": ("rendered people",),
    "challenge": ("challenge", "challenges"),
    "mirror-image": ("mirror image", "mirror images"),
    "crop": ("crop", "crops"),
    "heat-map": ("heat map", "heat maps"),
    "stride": ("stride", "strides"),
    "half-pixels": ("half a pixel", "half pixel", "half pixels"),
    "argmax": ("argmax",),
    "soft-argmax": ("soft-argmax",),
    "regression": ("detection", "regression network", "regression networks"),
    "logit": ("logit", "logits"),
    "hourglass": ("hourglass", "hourglasses", "intermediate supervision"),
    "residual-unit": ("residual unit", "residual units", "residual block", "residual blocks", "bottleneck"),
    "batch-norm": ("batch norm", "batch normalisation"),
    "receptive-field": ("receptive field", "receptive fields"),
    "atrous-convolution": ("atrous", "dilated", "dilation", "dilations"),
    "depthwise-convolution": ("depthwise", "separable convolution", "separable convolutions"),
    "adaptive-convolution": ("adaptive convolution", "adaptive convolutions", "dynamic convolution", "adapter"),
    "encoder": ("encoder", "encoders", "decoder"),
    "context": ("context maps", "pose context", "parsing context"),
    "refinement": ("refinement", "refinements"),
    "multiply-adds": ("multiply-adds",),
    "loss": ("loss", "losses"),
    "cross-entropy": ("cross-entropy", "squared error", "squared errors"),
    "batch": ("batch", "batches", "epoch", "epochs"),
    "learning-rate": ("learning rate", "learning rates", "one cycle"),
    "augmentation": ("augmentation",),
    "fine-tuning": ("fine-tuning", "fine-tuned"),
    "seed": ("seed", "seeds"),
    "pck": ("PCK", "PCKh"),
    "pcp": ("PCP",),
    "confusion-matrix": ("confusion matrix", "confusion matrices"),
    "pixel-accuracy": ("pixel accuracy", "mean accuracy"),
    "iou": ("IoU", "mean IoU"),
    "ap": ("mAP", "average precision"),
    "baseline": ("baseline", "baselines", "mean pose"),
    "ablation": ("ablation", "ablations"),
    "held-out": ("held out", "held-out", "validation people", "test people"),
    "percentage-point": ("percentage point", "percentage points"),
    "confidence-interval": ("confidence interval", "confidence intervals"),
    "p-value": ("p-value", "p-values"),
    "verdict": ("verdict", "verdicts"),
    "holm": ("Holm",),
    "mutual-information": ("mutual information", "mutual informations"),
    "spectral-clustering": ("spectral clustering",),
}


def heading_id(heading: str) -> str:
    """What JupyterLab and nbconvert call a heading in an address: blanks become hyphens and nothing else changes."""
    return heading.replace(" ", "-")


def anchor(heading: str) -> str | None:
    """The address of a heading, None for one with markup, or with characters that a browser writes otherwise there."""
    return heading_id(heading) if re.fullmatch(r"[\w .,:;'?!()/+-]+", heading, re.ASCII) else None


@dataclass
class Outline:
    """What a notebook's references can point at: the anchors of its numbered sections, None where they have none."""

    sections: dict[int, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Outline:
        """The outline of a notebook with these texts of Markdown cells."""
        headings = (re.match(r"## ((\d+)\. .*)", line) for text in texts for line in _without_fences(text).splitlines())
        return cls({int(found[2]): anchor(found[1].strip()) for found in headings if found})


def linked(name: str, texts: list[str], outlines: Mapping[str, Outline]) -> list[str]:
    """The texts of a notebook's Markdown cells with their references as links.

    Args:
        name: the notebook's path within `notebooks/`, without its ending.
        texts: of its Markdown cells, from top to bottom.
        outlines: of all notebooks of the course, by name.
    """
    chapter = chapter_of(name)
    solves = {}
    if chapter is not None and name == chapter.solutions:
        solves = {str(number): other for number, (other, _) in enumerate(chapter.notebooks, 1)}
    met: set[str] = set()
    about = solves["1"] if len(solves) == 1 else name
    result = []
    for text in texts:
        text = unlinked(text)
        # Solutions speak of the notebook whose exercise they solve: where there are several, their headings count them.
        if len(solves) > 1:
            numbers = re.findall(r"^## (\d+)\. ", text, re.MULTILINE)
            about = solves.get(numbers[-1], name) if numbers else about
        result.append(_terms(name, _references(name, about, text, outlines), met))
    return result


def unlinked(text: str) -> str:
    """A text without the links that `linked` makes: those whose words are such a reference, or a term."""

    def plain(found: re.Match) -> str:
        words, address = found[1], found[2]
        if f"{GLOSSARY}#" in address:
            made = _TERM.fullmatch(words)
        else:
            made = re.fullmatch(_REFERENCE, words) and re.fullmatch(r"[^#:]*\.ipynb(#.*)?|#.*", address)
        return words if made else found[0]

    return re.sub(r"(?<!!)\[([^\[\]]+)\]\(((?:[^()\s]|\([^()\s]*\))*)\)", plain, text)


_NUMBERS = r"\d+(?![\d.]*\d)(?:(?:,\s+|\s+and\s+|\s+to\s+)\d+(?![\d.]*\d))*"
# What the text of a link made here can be.
_REFERENCE = r"(?:[Nn]otebooks?\s+|[Ss]ections?\s+)?\d+|`[\w/.]+`"
# A reference to notebooks, or to sections; a section may be of a notebook named just before it, or just after.
_FOUND = re.compile(
    rf"(?P<notebooks>\b[Nn]otebooks\s+{_NUMBERS}|\b[Nn]otebook\s+\d+\b)(?:\s+of\s+`(?P<slug>\w+)`)?"
    rf"|`(?P<named>(?:\d+_\w+/)?\d+_\w+)(?:\.ipynb)?`"
    rf"|(?P<sections>\b[Ss]ections\s+{_NUMBERS}|\b[Ss]ection\s+\d+(?![\d.]*\d))"
)
_JOINED = re.compile(r",\s+|\s+\(|'s\s+")
# What no link is made of: code, mathematics, links, addresses, headings, titles of exercises and of papers.
_APART = re.compile(
    r"```.*?```|\$\$.*?\$\$|!?\[[^\]]*\]\((?:[^()\s]|\([^()]*\))*\)|<[^>\n]+>|https?://\S+|`[^`]*`|\$[^$\n]+(?:\n[^$\n]+)?\$"
    r"|^#+ [^\n]*|^\*\*\d+\..*?\*\*|(?<!\*)\*[A-Z][^*]{30,}\*(?!\*)",
    re.DOTALL | re.MULTILINE,
)
_TABLE = re.compile(r"^\|[^\n]*", re.MULTILINE)


def _form(words: str) -> str:
    """A pattern for the words of a term, with a capital at the start of a sentence, broken over lines or not."""
    first = f"[{words[0].upper()}{words[0]}]" if words[0].islower() else words[0]
    return first + r"\s+".join(re.escape(word) for word in words[1:].split(" "))


_BY_FORM = {form: entry for entry, forms in TERMS.items() for form in forms}
_TERM = re.compile(
    r"(?<![\w/-])(?:" + "|".join(_form(f) for f in sorted(_BY_FORM, key=len, reverse=True)) + r")(?![\w/-])"
)


def _references(name: str, about: str, text: str, outlines: Mapping[str, Outline]) -> str:
    """A text with its references to sections and notebooks as links."""
    pieces, end = [], 0
    apart = [found.span() for found in _APART.finditer(text)]
    # The name of a notebook is in code font itself.
    found = [m for m in _FOUND.finditer(text) if not any(a <= m.start() - bool(m["named"]) < b for a, b in apart)]
    for place, match in enumerate(found):
        before = found[place - 1] if place else None
        after = found[place + 1] if place + 1 < len(found) else None
        if match["sections"]:
            of = about
            if before and not before["sections"] and _JOINED.fullmatch(text[before.end() : match.start()]):
                of = _notebook(name, before)
            elif after and not after["sections"] and re.fullmatch(r"\s+of\s+", text[match.end() : after.start()]):
                of = _notebook(name, after)
            new = _section_links(name, of, match["sections"], outlines)
        elif match["named"]:
            other = _notebook(name, match)
            new = f"[{match[0]}]({relative(name, other)}.ipynb)" if other not in (None, name) else match[0]
        else:
            new = _each(
                match["notebooks"], lambda number, of=match: _address(name, _numbered(name, number, of["slug"]))
            )
            new += match[0].removeprefix(match["notebooks"])
        pieces += [text[end : match.start()], new]
        end = match.end()
    return "".join([*pieces, text[end:]])


def _section_links(name: str, of: str | None, words: str, outlines: Mapping[str, Outline]) -> str:
    """Words like "sections 4 and 6" of a notebook, each number with its link."""
    sections = outlines[of].sections if of in outlines else {}

    def address(number: int) -> str | None:
        target = sections.get(number)
        return target and f"{'' if of == name else relative(name, of) + '.ipynb'}#{target}"

    return _each(words, address)


def _each(words: str, address: Callable[[int], str | None]) -> str:
    """Words like "sections 4 and 6": the first number linked with the word before it, the others by themselves."""

    def link(found: re.Match) -> str:
        target = address(int(found[1]))
        return f"[{found[0]}]({target})" if target else found[0]

    return re.sub(r"(?:\b(?:[Nn]otebooks?|[Ss]ections?)\s+)?(\d+)", link, words)


def _notebook(name: str, match: re.Match) -> str | None:
    """The notebook that a reference to a single one means, None where it is not clear or not of the course."""
    if match["named"]:
        known = {*(other for other, _ in ORDER), *(chapter.solutions for chapter in COURSE)}
        folder = name.rpartition("/")[0]
        return next((path for path in (f"{folder}/{match['named']}", match["named"]) if path in known), None)
    numbers = re.findall(r"\d+", match["notebooks"])
    return _numbered(name, int(numbers[0]), match["slug"]) if len(numbers) == 1 else None


def _numbered(name: str, number: int, slug: str | None) -> str | None:
    """The notebook of a number, in the folder of a paper or in the notebook's own."""
    folder = name.rpartition("/")[0]
    names = [other for other, _ in ORDER if other.partition("/")[0].endswith(f"_{slug}" if slug else folder)]
    start = f"/{number}_"
    return next((other for other in names if start in other), None) if slug or folder else None


def _address(name: str, other: str | None) -> str | None:
    return None if other in (None, name) else f"{relative(name, other)}.ipynb"


def _terms(name: str, text: str, met: set[str]) -> str:
    """A text in which the first use of each term that was not met before is a link to the glossary."""
    apart = [found.span() for pattern in (_APART, _TABLE) for found in pattern.finditer(text)]

    def link(found: re.Match) -> str:
        form = " ".join(found[0].split())
        entry = _BY_FORM.get(form) or _BY_FORM[form[0].lower() + form[1:]]
        if entry in met or any(a <= found.start() < b for a, b in apart):
            return found[0]
        met.add(entry)
        return f"[{found[0]}]({relative(name, GLOSSARY)}#{entry})"

    return _TERM.sub(link, text)


def _without_fences(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)
