"""The command line, in this process."""

from typer.testing import CliRunner, Result

from gfnode.cli import app


def call(*words: object) -> Result:
    """Run a command; only its own exits are caught."""
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def works(*words: object) -> str:
    """What a command says that must succeed."""
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*words: object) -> str:
    """The error of a command that must end with one line and exit code 2."""
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: "), result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.output
    return result.stderr
