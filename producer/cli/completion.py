"""`unrolled completion`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    \b
    bash, in ~/.bashrc:                      eval "$(unrolled completion bash)"
    zsh, in ~/.zshrc:                        eval "$(unrolled completion zsh)"
    fish, in ~/.config/fish/config.fish:     unrolled completion fish | source

    At each TAB, the shell then runs `unrolled` with the variable _UNROLLED_COMPLETE, and gets the possible words.
    """
    root = context.find_root()
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"this version of click knows no completion for {shell}")
    click.echo(found(root.command, {}, "unrolled", "_UNROLLED_COMPLETE").source())
