"""How properties are tried (no deadline: the first example compiles), and how commands are run."""

import pytest
from hypothesis import settings

from services import cli

settings.register_profile(
    "suite", deadline=None, max_examples=100, derandomize=True, print_blob=True
)
settings.load_profile("suite")


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def invoke(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return invoke
