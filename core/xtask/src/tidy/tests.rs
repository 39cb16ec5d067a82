use super::*;

const FILE: &str = "core/a/src/lib.rs";

/// The rules that a file with this name and text breaks.
fn broken(name: &str, text: &str) -> Vec<Rule> {
    violations_of(name, text).into_iter().map(|violation| violation.rule).collect()
}

/// A function with `lines` lines.
fn function(lines: usize) -> String {
    format!("fn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2))
}

/// `count` violations of the rule about columns, and one exception for them.
fn compared(count: usize, excepted: usize) -> Vec<String> {
    let messages = (0..count).map(|line| format!("line {line}")).collect();
    let violations = Violations::from([((FILE.to_owned(), Rule::Columns), messages)]);
    complaints(&violations, &[(FILE, Rule::Columns, excepted, "test")])
}

#[test]
fn the_tree_is_tidy() {
    check().unwrap();
}

#[test]
fn a_file_has_at_most_400_lines() {
    assert!(broken(FILE, &"//\n".repeat(FILE_LINES)).is_empty());
    assert_eq!(broken(FILE, &"//\n".repeat(FILE_LINES + 1)), [Rule::FileLines]);
    assert!(broken("README.md", &"a\n".repeat(FILE_LINES + 1)).is_empty());
}

#[test]
fn a_function_has_at_most_60_lines() {
    assert!(broken(FILE, &function(FUNCTION_LINES)).is_empty());
    assert_eq!(broken(FILE, &function(FUNCTION_LINES + 1)), [Rule::FunctionLines]);
}

#[test]
fn a_public_function_has_at_most_6_parameters() {
    let six = "a: A, b: A, c: A, d: A, e: A, f: A";
    assert!(broken(FILE, &format!("pub fn f(&self, {six}) {{}}")).is_empty());
    assert!(broken(FILE, &format!("fn f({six}, g: A) {{}}")).is_empty());
    assert_eq!(broken(FILE, &format!("pub fn f({six}, g: A) {{}}")), [Rule::Parameters]);
}

#[test]
fn a_line_of_rust_or_markdown_has_at_most_110_columns() {
    let line = "x".repeat(COLUMNS);
    assert!(broken("a.md", &line).is_empty());
    assert_eq!(broken("a.md", &format!("{line}x")), [Rule::Columns]);
    assert_eq!(broken(FILE, &format!("// {line}")), [Rule::Columns]);
    assert!(broken("a.toml", &format!("{line}x")).is_empty());
}

#[test]
fn a_retired_word_is_found_in_rust_and_markdown() {
    for word in RETIRED {
        assert!(broken(FILE, &format!("// {word}.")).contains(&Rule::RetiredWords), "{word}");
    }
    assert_eq!(broken("a.md", RETIRED[0]), [Rule::RetiredWords]);
    assert!(broken("a.toml", RETIRED[0]).is_empty());
}

#[test]
fn a_machine_path_is_found_in_any_file() {
    assert_eq!(broken("a.toml", &["see /ho", "me/me/x"].concat()), [Rule::MachinePaths]);
    assert!(broken("a.toml", "see ./x").is_empty());
}

#[test]
fn an_exception_allows_exactly_as_many_violations_as_it_says() {
    assert!(compared(2, 2).is_empty());
    let more = compared(3, 2);
    assert_eq!(more.len(), 4);
    assert!(more[3].contains("only 2 of these"), "{more:?}");
    let fewer = compared(1, 2);
    assert!(fewer.len() == 1 && fewer[0].contains("lower it to 1"), "{fewer:?}");
    let unneeded = compared(0, 2);
    assert!(unneeded.len() == 1 && unneeded[0].contains("remove the exception"), "{unneeded:?}");
}

#[test]
fn violations_without_an_exception_are_all_listed() {
    let violations = violations_of(FILE, &format!("// {}\n", "x".repeat(COLUMNS)));
    assert_eq!(violations.len(), 1);
    assert!(violations[0].message.starts_with("core/a/src/lib.rs:1 has more than 110"), "{violations:?}");
    let grouped = Violations::from([((FILE.to_owned(), Rule::Columns), vec!["a line".to_owned()])]);
    assert_eq!(complaints(&grouped, &[]), ["a line"]);
}

#[test]
fn exceptions_are_sorted_unique_and_have_a_reason() {
    assert!(EXCEPTIONS.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
    assert!(EXCEPTIONS.iter().all(|(_, _, count, reason)| *count > 0 && !reason.is_empty()));
}
