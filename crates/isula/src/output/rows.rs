//! Lists in the form that `--format` asks for: a table, a table by template, text by template, or
//! one JSON object a line.

use super::table::aligned;
use crate::error::Failure;
use crate::json::{Method, Value};
use crate::template::Template;

/// The titles of the columns, by the names of the fields.
pub type Titles = &'static [(&'static str, &'static str)];

/// Renders rows; `format` is the user's, or the table that is the default.
///
/// # Errors
/// A template that does not parse, or asks for a field that no row has.
pub fn render(format: &str, titles: Titles, rows: &[Value]) -> Result<String, Failure> {
    let format = match format {
        "json" => "{{json .}}",
        other => other,
    };
    // In a shell's word the two characters \t are easier to write than a tab.
    let text = |format: &str| format.replace("\\t", "\t").replace("\\n", "\n");
    let (source, table) = match format.strip_prefix("table") {
        Some(rest) if rest.starts_with(char::is_whitespace) => (text(rest.trim()), true),
        _ => (text(format), false),
    };
    let failure = |error: crate::template::TemplateError| Failure::local(error.to_string());
    let template = Template::parse(&source).map_err(failure)?;
    let mut out = String::new();
    if table {
        let mut header: Vec<(String, Value)> =
            titles.iter().map(|(field, title)| ((*field).to_owned(), (*title).into())).collect();
        header.push(("Label".to_owned(), Value::Method(Method::LabelTitle)));
        out.push_str(&template.execute(&Value::Map(header)).map_err(failure)?);
        out.push('\n');
    }
    for row in rows {
        let line = template.execute(row).map_err(failure)?;
        // A cell with a newline in it would make two rows of one.
        out.push_str(&if table { line.replace('\n', " ") } else { line });
        out.push('\n');
    }
    Ok(if table { aligned(&out, 10, 3) } else { out })
}

/// One object: by template, or as JSON in one line.
///
/// # Errors
/// As [`render`].
pub fn object(format: &str, value: &Value) -> Result<String, Failure> {
    render(format, &[], std::slice::from_ref(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_list_has_four_forms() {
        let rows = [
            Value::map([("ID", Value::from("abc")), ("Names", Value::from("web"))]),
            Value::map([("ID", Value::from("def")), ("Names", Value::from("a\nb"))]),
        ];
        let titles: Titles = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];
        let table = [
            (
                "table {{.ID}}\t{{.Names}}",
                "CONTAINER ID   NAMES\nabc            web\ndef            a b\n",
            ),
            (
                "table {{.ID}}\\t{{.Names}}",
                "CONTAINER ID   NAMES\nabc            web\ndef            a b\n",
            ),
            ("{{.Names}}", "web\na\nb\n"),
            ("json", "{\"ID\":\"abc\",\"Names\":\"web\"}\n{\"ID\":\"def\",\"Names\":\"a\\nb\"}\n"),
        ];
        for (format, expected) in table {
            assert_eq!(render(format, titles, &rows).unwrap(), expected, "{format}");
        }
        assert_eq!(
            render("{{.Nope}}", titles, &rows).unwrap_err().to_string(),
            "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope"
        );
    }

    #[test]
    fn the_title_of_a_label_is_its_last_word() {
        let labels = vec![("com.example.made-by".to_owned(), "me".to_owned())];
        let row = Value::map([("Label", Value::Method(Method::Label(labels)))]);
        let shown = render("table {{.Label \"com.example.made-by\"}}", &[], &[row]).unwrap();
        assert_eq!(shown, "made by\nme\n");
    }
}
