"""The names of `import unrolled`, as `help` and completion show them."""

import subprocess
import sys

import pytest

import unrolled

HIDE = "import sys; sys.modules['sklearn'] = None\n"


def printed(code):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_help_shows_every_name_with_its_description():
    """Classes, functions and constants; their modules are loaded for it."""
    text = printed("import pydoc, unrolled; print(pydoc.plain(pydoc.render_doc(unrolled)))")
    assert unrolled.__version__ in text
    for name in {*unrolled.__all__} - {"__version__"}:
        assert name in text
        assert getattr(unrolled, name).__doc__.splitlines()[0] in text


def test_completion_loads_nothing():
    """`dir` gives the public names at once."""
    code = "import unrolled, sys; print({*unrolled.__all__} <= {*dir(unrolled)}, 'pyarrow' in sys.modules)"
    assert printed(code) == "True False\n"


def test_without_scikit_learn():
    """The name that needs it isn't listed, and says what to install; `help` shows the others."""
    assert "NAME" in printed(HIDE + "import unrolled; help(unrolled)")
    assert printed(HIDE + "import unrolled; print('Vectorizer' in dir(unrolled))") == "False\n"
    asked = printed(HIDE + "import unrolled; unrolled.Vectorizer")
    assert asked.endswith("ImportError: unrolled.Vectorizer needs scikit-learn: pip install scikit-learn\n")


@pytest.mark.parametrize("name", ["closed", "vectorizer"])
def test_other_names(name):
    """They are no attributes."""
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(unrolled, name)
