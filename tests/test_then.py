"""``then``: the presses on a result, as a text or as a structure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async import Button, ButtonPress, Prompt, SourcePrompt
from akool_async.items import MAX_PRESSES, Branch, count_upscales, read_then, write_then

UPSCALES = [button for button in Button if button.is_upscale]
VARIATIONS = [button for button in Button if not button.is_upscale]
leaves = st.lists(st.sampled_from(list(Button)), unique=True, max_size=4).map(
    lambda buttons: tuple(Branch(button) for button in buttons)
)


def _nest(levels):
    variations = st.lists(st.tuples(st.sampled_from(VARIATIONS), levels), max_size=2, unique_by=lambda pair: pair[0])
    return variations.map(lambda pairs: tuple(Branch(button, after) for button, after in pairs))


trees = st.recursive(leaves, _nest, max_leaves=6)


@pytest.mark.parametrize(
    ("then", "text"),
    [
        (None, ""),
        ("", ""),
        ("U1", "U1"),
        ("u1, v3", "U1 V3"),
        ("U*", "U1 U2 U3 U4"),
        ("V1>U*", "V1>(U1 U2 U3 U4)"),
        ("U2 V1 > V2 > U3", "U2 V1>V2>U3"),
        ("(V1 V2)>U1", "V1>U1 V2>U1"),
        ("V1>(U1 V4>U2) U3", "V1>(U1 V4>U2) U3"),
        ("U* V1>U1 V1>U2", "U1 U2 U3 U4 V1>(U1 U2)"),
        ("V* V1>U*", "V1>(U1 U2 U3 U4) V2 V3 V4"),
        (["U1", ["V1>U2"]], "U1 V1>U2"),
        ({"U1": None, "V*": "U2"}, "U1 V1>U2 V2>U2 V3>U2 V4>U2"),
        ({"V1": {"V2": ["U1", "U2"]}}, "V1>V2>(U1 U2)"),
        (Branch(Button.V1, (Branch(Button.U1),)), "V1>U1"),
        (Button.U3, "U3"),
    ],
)
def test_then_can_be_written_in_many_ways(then, text):
    """Texts and structures are read as branches, each button once, in the order of first mention."""
    assert write_then(read_then(then)) == text


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("U1>U2", "then: nothing can be pressed on the result of U1: an upscale has no buttons"),
        ("*>U2", "then: nothing can be pressed on the result of U1: an upscale has no buttons"),
        ({"U1": "V1"}, "then: nothing can be pressed on the result of U1: an upscale has no buttons"),
        ("U5", "then: button must be one of U1, U2, U3, U4, V1, V2, V3, V4, or U*, V* or *, not 'U5'"),
        ({"X": "U1"}, "then: button must be one of U1, ... not 'X'"),
        ({1: "U1"}, "then: button must be one of U1, ... not 1"),
        ("V1>", "then: write a button after \">\", such as V1>U2, in 'V1>'"),
        ("V1>(>U1)", 'then: write a button before ">"'),
        (">U1", 'then: write a button before ">"'),
        ("(V1>)", 'then: write a button after ">"'),
        ("V1>(U1", 'then: "(" without ")"'),
        ("V1(U1)", 'then: write ">" or a space between a button and a bracket'),
        ("(V1 V2)U1", 'then: write ">" or a space between a button and a bracket'),
        ("V1>U1)", 'then: ")" without "("'),
        (7, "then: pass a text such as ... not 7"),
        (b"U1", "then: pass a text such as ... not b'U1'"),
        (["U1", 7], "then: pass a text such as ... not 7"),
        ("V1>" * 20 + "U1", "then: at most 16 levels can be nested"),
        ("(" * 40 + "V1" + ")" * 40, "then: at most 16 levels can be nested"),
        ("V*>" * 12 + "U1", "then: at most 10,000 presses are possible"),
    ],
)
@pytest.mark.parametrize(
    "make", [lambda then: Prompt("a fox", then=then), lambda then: ButtonPress("1", "V1", then=then)]
)
def test_a_wrong_then_is_refused_before_anything_is_spent(make, then, message):
    """Impossible presses raise a ValueError that names the argument, when the item is made."""
    with pytest.raises(ValueError) as raised:
        make(then)
    assert all(part in str(raised.value) for part in message.split(" ... "))


def test_a_structure_that_holds_itself_is_refused():
    """A list that contains itself ends with our error, not with the interpreter's."""
    endless: list[object] = ["V1"]
    endless.append(endless)
    with pytest.raises(ValueError, match="at most 16 levels"):
        Prompt("a fox", then=endless)


def test_nothing_is_pressed_on_an_upscale():
    """A press of U1-U4 has no ``then``."""
    with pytest.raises(ValueError, match="nothing can be pressed on the result of U2"):
        ButtonPress("1", "U2", then="U1")


def test_then_does_not_count_in_comparisons():
    """Presses of the same button, and prompts of the same content, are equal with any ``then``."""
    assert ButtonPress("1", "V1", then="U1") == ButtonPress("1", "V1")
    assert hash(ButtonPress("1", "V1", then="U1")) == hash(ButtonPress("1", "V1"))
    assert Prompt("a fox", then="U1") == Prompt("a fox")
    assert SourcePrompt("a fox", then="U1") != SourcePrompt("a fox", key="1")


@given(trees)
def test_branches_are_read_from_the_text_that_they_are_written_as(branches):
    """Writing and reading give the same branches."""
    assert read_then(write_then(branches)) == branches
    assert read_then(branches) == branches


def test_the_deepest_tree_is_read_from_its_text():
    """Sixteen levels of several buttons each can be written and read; a seventeenth is refused in any form."""
    then = (Branch(Button.U1), Branch(Button.V1))
    for _ in range(15):
        then = (Branch(Button.U1), Branch(Button.V1, then))
    assert read_then(write_then(then)) == then
    with pytest.raises(ValueError, match="at most 16 levels"):
        Branch(Button.V1, then)
    with pytest.raises(ValueError, match="at most 16 levels"):
        read_then(f"V1>({write_then(then)})")


@given(st.text(alphabet="UV1234*>() ,", max_size=40))
def test_any_text_is_read_or_refused(text):
    """Any text gives branches within the limits, or a ValueError."""
    try:
        branches = read_then(text)
    except ValueError:
        pass
    else:
        assert sum(branch.presses for branch in branches) <= 8 * MAX_PRESSES
        assert len({branch.button for branch in branches}) == len(branches)
        assert read_then(write_then(branches)) == branches


@given(trees)
def test_upscales_are_counted_at_all_levels(branches):
    """The count of upscales is that of their names in the text."""
    assert count_upscales(branches) == write_then(branches).count("U")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prompt(""), "text must be a non-empty text"),
        (lambda: Prompt("a fox", scale="2:1"), "scale must be one of"),
        (lambda: Prompt("a fox", source_image="fox.png"), "source_image must be an absolute"),
        (lambda: Prompt("a fox", key=" "), "key must be a non-empty text"),
        (lambda: Prompt("a fox", key="a\nb"), "key must be a printable text of at most 200 characters"),
        (lambda: Prompt("a fox", key="k" * 201), "key must be a printable text of at most 200 characters"),
        (lambda: SourcePrompt(5), "text must be a non-empty text"),
        (lambda: SourcePrompt("a fox", resolution="8k"), "resolution must be one of 1080p, 4k"),
        (lambda: SourcePrompt("a fox", batch_quantity=5), "batch_quantity must be a whole number from 1 to 4"),
        (lambda: SourcePrompt("a fox", source_images="fox.png"), "source_images must be a list of URLs"),
        (lambda: SourcePrompt("a fox", key=5), "key must be a non-empty text"),
    ],
)
def test_a_wrong_prompt_is_refused(make, message):
    """A prompt that AKOOL would refuse raises a ValueError that names the argument, when it is made."""
    with pytest.raises(ValueError, match=message):
        make()
