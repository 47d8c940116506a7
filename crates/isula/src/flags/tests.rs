//! The grammar as a table: what is given, and what the command sees.

use super::*;

const TOOL: Syntax = Syntax {
    name: "tool",
    usage: "[OPTIONS] ARG...",
    about: "A tool",
    flags: &[&[
        Flag::switch("interactive", Some('i'), "Interactive"),
        Flag::switch("tty", Some('t'), "Terminal"),
        Flag::value("memory", Some('m'), "size", "Memory"),
        Flag::list("env", Some('e'), "var", "Variable"),
        Flag::alias("environment", None, "env"),
        Flag::unsupported("publish", Some('p')),
    ]],
    least: 0,
    most: 9,
    stops_at_argument: true,
};
const LOOSE: Syntax = Syntax { stops_at_argument: false, ..TOOL };
static STRICT_TOOL: Syntax = TOOL;
static LOOSE_TOOL: Syntax = LOOSE;

fn seen(syntax: &'static Syntax, line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    match syntax.parse(&words) {
        Ok(arguments) => format!(
            "i={} t={} m={} e={} rest={}",
            arguments.on("interactive"),
            arguments.on("tty"),
            arguments.value("memory").unwrap_or("-"),
            arguments.values("env").collect::<Vec<_>>().join(","),
            arguments.rest.join(",")
        ),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn the_grammar_is_dockers() {
    let table = [
        ("-it x", "i=true t=true m=- e= rest=x"),
        ("-i -t=false x", "i=true t=false m=- e= rest=x"),
        ("--tty=0 --interactive=T x", "i=true t=false m=- e= rest=x"),
        ("-itm5 x", "i=true t=true m=5 e= rest=x"),
        ("-m 5 -m=6 x", "i=false t=false m=6 e= rest=x"),
        ("-eA=1 -e B --env=C=3 --environment D x", "i=false t=false m=- e=A=1,B,C=3,D rest=x"),
        ("x -i --nonsense", "i=false t=false m=- e= rest=x,-i,--nonsense"),
        ("-i -- -t x", "i=true t=false m=- e= rest=-t,x"),
        ("-i - x", "i=true t=false m=- e= rest=-,x"),
        ("x -- -t y", "i=false t=false m=- e= rest=x,--,-t,y"),
        ("x y -- --", "i=false t=false m=- e= rest=x,y,--,--"),
        ("-m -1 -e --tty x", "i=false t=false m=-1 e=--tty rest=x"),
        ("-e -- x", "i=false t=false m=- e=-- rest=x"),
        ("--nonsense x", "unknown flag: --nonsense"),
        ("-iz x", "unknown shorthand flag: 'z' in -iz"),
        ("--memory", "flag needs an argument: --memory"),
        ("-im", "flag needs an argument: 'm' in -im"),
        ("--publish=1 x", "--publish is not supported in this version"),
        ("-ip 1 x", "-p is not supported in this version"),
        (
            "--tty=yes x",
            "invalid argument \"yes\" for \"-t, --tty\" flag: it is neither true nor false",
        ),
        ("-é x", "unknown shorthand flag: 'é' in -é"),
    ];
    for (line, expected) in table {
        assert_eq!(seen(&STRICT_TOOL, line), expected, "{line}");
    }
}

#[test]
fn flags_may_follow_arguments_where_no_program_is_run() {
    assert_eq!(seen(&LOOSE_TOOL, "x -i y -- -t"), "i=true t=false m=- e= rest=x,y,-t");
}

#[test]
fn the_help_leaves_out_what_does_not_work() {
    let text = help(&TOOL);
    assert!(text.starts_with("USAGE:\n\tisula tool [OPTIONS] ARG...\n\nA tool\n\nOPTIONS:\n"));
    assert!(text.contains("\t-m, --memory size\tMemory\n"), "{text}");
    assert!(text.contains("\t-e, --env var    \tVariable\n"), "{text}");
    assert!(!text.contains("publish") && !text.contains("environment"));
}
