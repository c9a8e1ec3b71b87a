//! The command line as a whole.

#[test]
fn definitions_are_consistent() {
    super::command().debug_assert();
}

#[test]
fn every_command_and_option_is_explained() {
    let mut command = super::command();
    command.build();
    let mut queue = vec![command];
    while let Some(command) = queue.pop() {
        let name = command.get_name().to_owned();
        assert!(command.get_about().is_some(), "{name} says what it does");
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{name}: {} is explained",
                argument.get_id()
            );
        }
        queue.extend(command.get_subcommands().cloned());
    }
}

#[test]
fn every_exit_code_is_in_the_help() {
    let help = super::command().render_long_help().to_string();
    for code in 0..=7 {
        assert!(
            help.contains(&format!("\n  {code}  ")),
            "{code} is documented"
        );
    }
}
