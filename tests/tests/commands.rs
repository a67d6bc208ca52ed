//! The commands that a program embeds in one line are those of `qnfsm`, and say their examples with the program's own name.

use std::process::{Command, Output};

fn cogs(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogs")).args(arguments).output().expect("the program can be started")
}

fn out(arguments: &[&str]) -> String {
    let output = cogs(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("help is text")
}

#[test]
fn each_command_is_there_with_an_example_of_its_own_program() {
    let all = out(&["--help"]);
    for command in ["replay", "diff", "describe", "dump", "stat", "snapshot", "verify", "repair"] {
        assert!(all.contains(&format!("  {command} ")), "{command}: {all}");
        let help = out(&[command, "--help"]);
        assert!(help.contains(&format!("\n  cogs {command} /")), "{command}: {help}");
        assert!(help.contains("--json"), "{command}: {help}");
        assert_eq!(cogs(&[command]).status.code(), Some(2), "{command} needs a directory");
    }
}

#[test]
fn each_shell_is_told_the_commands_and_their_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = out(&["completions", shell]);
        for word in ["cogs", "describe", "unusable-snapshots", "follow"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    let output = cogs(&["completions", "dos"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bash"), "it says which there are");
}
