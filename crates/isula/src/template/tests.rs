//! The engine against the results of Go 1.26's own on the same document.
//!
//! Where it differs on purpose: a missing field is told as Docker tells it of its structures.

use super::{Template, TemplateError};
use crate::json::Value;

const DOCUMENT: &str = r#"{"Config":{"Cmd":null,"Empty":[],"Env":["A=1","B=2"],"Labels":{"a.b":"x","zone":"eu"}},
    "Id":"abc","Mounts":[{"RW":true,"Source":"/a"},{"RW":false,"Source":"/b"}],"Name":"web",
    "Quote":"<a href='x'>&\"","Ratio":1.5,
    "State":{"Health":null,"Pid":42,"Running":true,"Status":"running"},"Zero":0}"#;

fn run(template: &str) -> Result<String, TemplateError> {
    let document = Value::parse(DOCUMENT.as_bytes()).unwrap();
    Template::parse(template)?.execute(&document)
}

#[test]
fn what_go_prints_is_printed() {
    #[rustfmt::skip]
    let table = [
        ("plain", "plain"),
        ("{{.Id}}", "abc"),
        ("{{ .State.Status }}/{{.State.Pid}}", "running/42"),
        ("{{.Config.Env}} {{.Config.Labels}} {{.Config.Empty}} {{.State.Health}}", "[A=1 B=2] map[a.b:x zone:eu] [] <no value>"),
        ("{{json .State}}", "{\"Health\":null,\"Pid\":42,\"Running\":true,\"Status\":\"running\"}"),
        ("{{json .Config.Labels}} {{.Config.Env | json}}", "{\"a.b\":\"x\",\"zone\":\"eu\"} [\"A=1\",\"B=2\"]"),
        ("{{range .Config.Env}}{{.}},{{end}}", "A=1,B=2,"),
        ("{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=x;zone=eu;"),
        ("{{range $e := .Config.Env}}[{{$e}}]{{end}}", "[A=1][B=2]"),
        ("{{range .Config.Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Cmd}}x{{else}}nil{{end}}", "nil"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range $i := 2}}{{$i}}{{end}}", "01"),
        ("{{range .Mounts}}{{if .RW}}{{.Source}}{{else}}{{continue}}{{end}}!{{end}}", "/a!"),
        ("{{range .Mounts}}{{.Source}}{{break}}{{end}}", "/a"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .Zero}}a{{else if eq .Id \"abc\"}}b{{else}}c{{end}}", "b"),
        ("{{if and .State.Running (eq .State.Pid 42)}}yes{{end}}", "yes"),
        ("{{or .Zero .Name}} {{and .Zero .Name}} {{not .Zero}}", "web 0 true"),
        ("{{with .State}}{{.Status}} {{$.Name}}{{end}}", "running web"),
        ("{{with $x := .Name}}{{$x}}{{end}}", "web"),
        ("{{with .Zero}}a{{else with .Name}}{{.}}{{end}}", "web"),
        ("{{$x := 1}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}", "B=2"),
        ("{{$n := len .Config.Env}}{{$n}}", "2"),
        ("{{index .Config.Env 1}} {{index .Config.Labels \"zone\"}} {{index .Mounts 0 \"Source\"}}", "B=2 eu /a"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ("{{slice .Name 1}} {{slice .Name 1 2}} {{slice .Config.Env 0 1}}", "eb e [A=1]"),
        ("{{printf \"%s-%d-%v-%q-%t\" .Name .State.Pid .Config.Env .Name .State.Running}}", "web-42-[A=1 B=2]-\"web\"-true"),
        ("{{printf \"%5d|%-5d|%05d|%x|%X|%o|%b|%c\" 42 42 42 255 255 8 5 65}}", "   42|42   |00042|ff|FF|10|101|A"),
        ("{{printf \"%10s|%-10s|%.2s|%5t\" \"ab\" \"cd\" \"efgh\" true}}", "        ab|cd        |ef| true"),
        ("{{printf \"%f %.2f %e %g %v %8.3f|\" .Ratio .Ratio .Ratio .Ratio .Ratio .Ratio}}", "1.500000 1.50 1.500000e+00 1.5 1.5    1.500|"),
        ("{{printf \"%+d % d %#x %U %q\" 5 5 255 8364 65}}", "+5  5 0xff U+20AC 'A'"),
        ("{{printf \"%d %s\" \"x\" 1}} {{printf \"%s\"}} {{printf \"a\" 1}} {{printf \"%!\"}} {{printf \"100%%\"}} {{printf \"%\"}}", "%!d(string=x) %!s(int=1) %!s(MISSING) a%!(EXTRA int=1) %!!(MISSING) 100% %!(NOVERB)"),
        ("{{printf \"%*d|%-*d|\" 5 42 4 7}} {{printf \"%.3v\" 1.23456}} {{printf \"%6.2f%%\" 99.5}}", "   42|7   | 1.23  99.50%"),
        ("{{printf \"%v %v %v\" nil true .Config.Labels}}", "<nil> true map[a.b:x zone:eu]"),
        ("{{printf \"%x %X %T\" \"hi\" \"hi\" \"s\"}}", "6869 6869 string"),
        ("{{print 1 2 \"a\" \"b\" 3 4}} {{println \"a\" 1}}end", "1 2ab3 4 a 1\nend"),
        ("{{eq 1 1}} {{eq .Name \"a\" \"web\"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 1 2}} {{lt \"a\" \"b\"}}", "true true true true true false false true"),
        ("{{lower \"ABC\"}} {{upper .Name}} {{title \"hello world\"}} {{join .Config.Env \"-\"}} {{split \"a,b\" \",\"}} {{pad \"x\" 1 2}}| {{truncate \"abcdef\" 3}}", "abc WEB Hello World A=1-B=2 [a b]  x  | abc"),
        ("{{html .Quote}} {{js .Quote}} {{urlquery \"a b&c/d\"}}", "&lt;a href=&#39;x&#39;&gt;&amp;&#34; \\u003Ca href\\u003D\\'x\\'\\u003E\\u0026\\\" a+b%26c%2Fd"),
        ("{{\"quoted \\\"x\\\" \\t|\"}} {{`raw \\n`}} {{'a'}} {{0x1f}} {{1_000}} {{1e3}} {{true}} {{.5}} {{-3}} {{0b101}} {{0o17}}", "quoted \"x\" \t| raw \\n 97 31 1000 1000 true 0.5 -3 5 15"),
        ("a {{- \" b \" -}} c", "a b c"),
        ("a {{/* comment */}} b {{- /* trimmed */ -}} c", "a  bc"),
        ("{{ (printf \"%d\" 5) | printf \"%s%s\" \"x\" }}", "x5"),
        ("{{.Name | printf \"%s:%s\" .Id}}", "abc:web"),
        ("{{len \"abc\"}} {{len .Config.Labels}}", "3 2"),
        ("{{1e6}} {{1e5}} {{1234567.5}} {{printf \"%.3g %.9g\" 100000.5 1e6}}", "1e+06 100000 1.2345675e+06 1e+05 1000000"),
        ("{{1.0}} {{1e21}} {{1e20}} {{1e-5}} {{.Ratio}}", "1 1e+21 1e+20 1e-05 1.5"),
    ];
    for (template, expected) in table {
        assert_eq!(run(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    #[rustfmt::skip]
    let table = [
        ("{{.Nope}}", "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope"),
        ("{{.State.Nope}}", "template: :1:8: executing \"\" at <.State.Nope>: can't evaluate field Nope"),
        ("{{.State.Health.Status}}", "template: :1:8: executing \"\" at <.State.Health.Status>: nil data; no entry for key \"Status\""),
        ("{{.Name.Nope}}", "template: :1:7: executing \"\" at <.Name.Nope>: can't evaluate field Nope"),
        ("{{range .Name}}{{end}}", "template: :1:8: executing \"\" at <.Name>: range can't iterate over web"),
        ("{{index .Config.Env 5}}", "template: :1:2: executing \"\" at <index .Config.Env 5>: error calling index: index out of range: 5"),
        ("{{index .Config.Env \"x\"}}", "template: :1:2: executing \"\" at <index .Config.Env \"x\">: error calling index: cannot index slice/array with type string"),
        ("{{len 3}}", "template: :1:2: executing \"\" at <len 3>: error calling len: len of type int"),
        ("{{len}}", "template: :1:2: executing \"\" at <len>: wrong number of args for len: want 1 got 0"),
        ("{{not 1 2}}", "template: :1:2: executing \"\" at <not>: wrong number of args for not: want 1 got 2"),
        ("{{lt 1 \"a\"}}", "template: :1:2: executing \"\" at <lt 1 \"a\">: error calling lt: incompatible types for comparison: int and string"),
        ("{{eq 1 \"a\"}}", "template: :1:2: executing \"\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison: int and string"),
        ("{{slice .Name 5}}", "template: :1:2: executing \"\" at <slice .Name 5>: error calling slice: index out of range: 5"),
        ("{{.Name 1}}", "template: :1:2: executing \"\" at <.Name>: Name is not a method but has arguments"),
        ("{{nil}}", "template: :1:2: executing \"\" at <nil>: nil is not a command"),
        ("{{\"a\" | 3}}", "template parsing error: template: :1: non executable command in pipeline stage 2"),
        ("line1\n  {{.State.Nope}}", "template: :2:10: executing \"\" at <.State.Nope>: can't evaluate field Nope"),
        ("{{", "template parsing error: template: :1: unclosed action"),
        ("{{.Id", "template parsing error: template: :1: unclosed action"),
        ("{{end}}", "template parsing error: template: :1: unexpected {{end}}"),
        ("{{if .Id}}x", "template parsing error: template: :1: unexpected EOF"),
        ("{{else}}", "template parsing error: template: :1: unexpected {{else}}"),
        ("{{nosuch .Id}}", "template parsing error: template: :1: function \"nosuch\" not defined"),
        ("{{$x}}", "template parsing error: template: :1: undefined variable \"$x\""),
        ("{{\"unclosed}}", "template parsing error: template: :1: unterminated quoted string"),
        ("{{(.Id}}", "template parsing error: template: :1: unclosed left paren"),
        ("{{.Id)}}", "template parsing error: template: :1: unexpected right paren"),
        ("{{if}}x{{end}}", "template parsing error: template: :1: missing value for if"),
        ("{{}}", "template parsing error: template: :1: missing value for command"),
        ("{{range .X}}{{else}}{{else}}{{end}}", "template parsing error: template: :1: expected end; found {{else}}"),
        ("{{break}}", "template parsing error: template: :1: {{break}} outside {{range}}"),
        ("{{'ab'}}", "template parsing error: template: :1: malformed character constant: 'ab'"),
        ("{{1x}}", "template parsing error: template: :1: bad number syntax: \"1x\""),
        ("{{\"\\q\"}}", "template parsing error: template: :1: invalid syntax"),
        ("{{/* unclosed", "template parsing error: template: :1: unclosed comment"),
        ("{{!}}", "template parsing error: template: :1: unexpected \"!\" in command"),
        ("{{$x := 1}}{{$x.Foo}}", "template: :1:15: executing \"\" at <$x.Foo>: can't evaluate field Foo"),
        ("{{range $a, $b, $c := .X}}{{end}}", "template parsing error: template: :1: too many declarations in range"),
        ("{{with $x, $y := 1}}{{end}}", "template parsing error: template: :1: too many declarations in with"),
    ];
    for (template, expected) in table {
        let found = run(template).map_err(|error| error.to_string());
        assert_eq!(found, Err(expected.to_owned()), "{template}");
    }
}

#[test]
fn a_label_that_is_not_there_is_nothing() {
    let table = [
        ("{{.Config.Labels.zone}}", "eu"),
        ("{{.Config.Labels.none}}", "<no value>"),
        ("{{index .Config.Labels \"none\"}}", ""),
        ("{{index .State \"Nope\"}}", "<no value>"),
        ("{{if .Config.Labels.none}}a{{else}}b{{end}}", "b"),
        ("{{eq .Zero 0.0}} {{eq .State.Health nil}} {{ne .Name nil}}", "true true true"),
    ];
    for (template, expected) in table {
        assert_eq!(run(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_the_engine_has_not_is_refused() {
    for template in [
        "{{define \"x\"}}{{end}}",
        "{{template \"x\"}}",
        "{{block \"x\" .}}{{end}}",
        "{{.Id}",
        "{{3.Foo}}",
        "{{lower 5}}",
        "{{call .Id}}",
        "{{pad .Id 9999999 0}}",
        "{{truncate .Id -1}}",
        "{{join .Name 5}}",
    ] {
        assert!(run(template).is_err(), "{template}");
    }
}

#[test]
fn no_template_exhausts_the_stack_or_the_memory() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(5000), close.repeat(5000));
    let table = [
        deep("{{if .Id}}", "{{end}}"),
        deep("{{with .Id}}", "{{end}}"),
        deep("{{if .Zero}}{{else if .Id}}", "{{end}}"),
        format!("{{{{{}.Id{}}}}}", "(".repeat(5000), ")".repeat(5000)),
        "{{range 9223372036854775807}}{{end}}".to_owned(),
        "{{range 9223372036854775807}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}"
            .to_owned(),
    ];
    for template in table {
        assert!(run(&template).is_err());
    }
    assert_eq!(run("{{printf \"%99999999d\" 1}}").as_deref(), Ok("%!(BADWIDTH)%!(EXTRA int=1)"));
}

/// Every string of up to four of the pieces that matter: none may panic.
#[test]
fn no_template_panics() {
    let pieces = [
        "{{", "}}", "{{-", "-}}", " ", ".", "$", "$x", ":=", "=", "|", "(", ")", "\"", "`", "'",
        "if", "else", "end", "range", ".Id", ".Config", "index", "printf", "\"%d\"", "-1", "/*",
        "*/", "é", ",", "\\", "slice",
    ];
    let mut count = 0;
    for a in pieces {
        for b in pieces {
            for c in pieces {
                let _ = run(&format!("{a}{b}{c}"));
                let _ = run(&format!("{{{{{a}{b}{c}}}}}"));
                let _ = run(&format!("{{{{{a} {b} {c}}}}}"));
                count += 3;
            }
        }
    }
    assert_eq!(count, 3 * pieces.len().pow(3));
}
