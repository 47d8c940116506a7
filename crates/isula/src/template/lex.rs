//! Cuts a template into tokens, as Go's `text/template/parse` does.

use super::TemplateError;

/// A piece of the template and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    /// Byte offset in the template.
    pub at: usize,
    /// White space stands before it: `.A .B` are two operands, `.A.B` is one.
    pub spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// Text outside of `{{` and `}}`.
    Text(String),
    Open,
    Close,
    /// A keyword or the name of a function.
    Word(String),
    /// `.Name`, without the dot.
    Field(String),
    /// `$` or `$name`, with the dollar.
    Variable(String),
    Dot,
    /// Its value and how it was written.
    Quoted(String, String),
    Int(i128),
    Float(f64),
    Pipe,
    Comma,
    Assign,
    Declare,
    LeftParen,
    RightParen,
}

impl TokenKind {
    /// How an error names it.
    pub fn describe(&self) -> String {
        match self {
            Self::Text(_) => "text".to_owned(),
            Self::Open => "\"{{\"".to_owned(),
            Self::Close => "\"}}\"".to_owned(),
            Self::Word(word) => format!("<{word}>"),
            Self::Field(name) => format!("<.{name}>"),
            Self::Variable(name) => format!("<{name}>"),
            Self::Dot => "<.>".to_owned(),
            Self::Quoted(_, written) => written.clone(),
            Self::Int(number) => format!("\"{number}\""),
            Self::Float(number) => format!("\"{number}\""),
            Self::Pipe => "\"|\"".to_owned(),
            Self::Comma => "\",\"".to_owned(),
            Self::Assign => "\"=\"".to_owned(),
            Self::Declare => "\":=\"".to_owned(),
            Self::LeftParen => "\"(\"".to_owned(),
            Self::RightParen => "\")\"".to_owned(),
        }
    }
}

/// All tokens of a template.
pub(super) fn tokens(template: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { template, at: 0, out: Vec::new() };
    let mut trim_next = false;
    loop {
        let rest = lexer.rest();
        let Some(open) = rest.find("{{") else {
            lexer.text(rest.len(), trim_next, false);
            return Ok(lexer.out);
        };
        let after = rest.get(open + 2..).unwrap_or_default();
        let trims = after.starts_with('-') && after[1..].starts_with(char::is_whitespace);
        lexer.text(open, trim_next, trims);
        lexer.at += if trims { 3 } else { 2 };
        let start = lexer.at - if trims { 3 } else { 2 };
        trim_next = match lexer.comment()? {
            Some(trim) => trim,
            None => {
                lexer.push(TokenKind::Open, start, false);
                lexer.action(start)?
            }
        };
    }
}

struct Lexer<'a> {
    template: &'a str,
    at: usize,
    out: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.template.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: TokenKind, at: usize, spaced: bool) {
        self.out.push(Token { kind, at, spaced });
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::syntax(self.template, self.at, message))
    }

    fn text(&mut self, length: usize, trim_start: bool, trim_end: bool) {
        let start = self.at;
        let mut text = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
        if trim_start {
            text = text.trim_start_matches(blank);
        }
        if trim_end {
            text = text.trim_end_matches(blank);
        }
        if !text.is_empty() {
            self.push(TokenKind::Text(text.to_owned()), start, false);
        }
    }

    /// Skips `/* … */}}`; says whether the text after it loses its leading blanks.
    fn comment(&mut self) -> Result<Option<bool>, TemplateError> {
        let rest = self.rest();
        let inner = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        // After `{{- ` blanks may stand before the comment; after `{{` they may not.
        if !inner.starts_with("/*") || (inner.len() != rest.len() && !self.follows_trim()) {
            return Ok(None);
        }
        let Some(end) = inner.find("*/") else { return self.fail("unclosed comment") };
        let tail = inner.get(end + 2..).unwrap_or_default();
        let trimmed = tail.strip_prefix(" -}}");
        match trimmed.or_else(|| tail.strip_prefix("}}")) {
            Some(left) => {
                self.at = self.template.len() - left.len();
                Ok(Some(trimmed.is_some()))
            }
            None => self.fail("comment ends before closing delimiter"),
        }
    }

    fn follows_trim(&self) -> bool {
        self.template.get(..self.at).is_some_and(|before| before.ends_with("{{-"))
    }

    /// Tokens up to and with `}}`; says whether it was ` -}}`.
    fn action(&mut self, open: usize) -> Result<bool, TemplateError> {
        let mut parens = 0_usize;
        loop {
            let before = self.rest();
            let rest = before.trim_start_matches([' ', '\t', '\r', '\n']);
            let spaced = rest.len() != before.len();
            self.at = self.template.len() - rest.len();
            let start = self.at;
            let trims = spaced && rest.starts_with("-}}");
            if trims || rest.starts_with("}}") {
                if parens > 0 {
                    return self.fail("unclosed left paren");
                }
                self.at += if trims { 3 } else { 2 };
                self.push(TokenKind::Close, start, spaced);
                return Ok(trims);
            }
            let Some(first) = rest.chars().next() else {
                self.at = open;
                return self.fail("unclosed action");
            };
            let kind = match first {
                '(' => self.single(&mut parens, TokenKind::LeftParen)?,
                ')' => self.single(&mut parens, TokenKind::RightParen)?,
                '|' => self.take(1, TokenKind::Pipe),
                ',' => self.take(1, TokenKind::Comma),
                '=' => self.take(1, TokenKind::Assign),
                ':' if rest.starts_with(":=") => self.take(2, TokenKind::Declare),
                ':' => return self.fail("expected :="),
                '"' => self.quoted()?,
                '`' => self.raw()?,
                '\'' => self.character()?,
                '$' => self.variable(),
                '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.field(),
                c if c.is_ascii_digit() || matches!(c, '.' | '+' | '-') => self.number()?,
                c if is_word(c) => self.word(),
                c => return self.fail(format!("unexpected {:?} in command", c.to_string())),
            };
            self.push(kind, start, spaced);
        }
    }

    fn take(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.at += length;
        kind
    }

    fn single(&mut self, parens: &mut usize, kind: TokenKind) -> Result<TokenKind, TemplateError> {
        match kind {
            TokenKind::LeftParen => *parens += 1,
            _ if *parens == 0 => return self.fail("unexpected right paren"),
            _ => *parens -= 1,
        }
        Ok(self.take(1, kind))
    }

    fn word_length(&self, skip: usize) -> usize {
        let rest = self.rest().get(skip..).unwrap_or_default();
        rest.find(|c| !is_word(c)).unwrap_or(rest.len())
    }

    fn cut(&mut self, length: usize) -> &'a str {
        let piece = self.rest().get(..length).unwrap_or_default();
        self.at += piece.len();
        piece
    }

    fn word(&mut self) -> TokenKind {
        let length = self.word_length(0);
        TokenKind::Word(self.cut(length).to_owned())
    }

    fn variable(&mut self) -> TokenKind {
        let length = 1 + self.word_length(1);
        TokenKind::Variable(self.cut(length).to_owned())
    }

    fn field(&mut self) -> TokenKind {
        let length = 1 + self.word_length(1);
        match self.cut(length) {
            "." => TokenKind::Dot,
            name => TokenKind::Field(name.trim_start_matches('.').to_owned()),
        }
    }

    fn raw(&mut self) -> Result<TokenKind, TemplateError> {
        let Some(end) = self.rest().get(1..).and_then(|rest| rest.find('`')) else {
            return self.fail("unterminated raw quoted string");
        };
        let written = self.cut(end + 2);
        Ok(TokenKind::Quoted(written.trim_matches('`').to_owned(), written.to_owned()))
    }

    fn quoted(&mut self) -> Result<TokenKind, TemplateError> {
        let mut escaped = false;
        let end = self.rest().char_indices().skip(1).find_map(|(index, c)| match c {
            '\n' => Some(Err(())),
            _ if escaped => {
                escaped = false;
                None
            }
            '\\' => {
                escaped = true;
                None
            }
            '"' => Some(Ok(index)),
            _ => None,
        });
        let Some(Ok(end)) = end else { return self.fail("unterminated quoted string") };
        let written = self.rest().get(..=end).unwrap_or_default();
        match super::quote::unquote(written) {
            Some(text) => Ok(self.take(end + 1, TokenKind::Quoted(text, written.to_owned()))),
            None => self.fail("invalid syntax"),
        }
    }

    fn character(&mut self) -> Result<TokenKind, TemplateError> {
        let mut escaped = false;
        let end = self.rest().char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '\'' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return self.fail("unterminated character constant") };
        let inner = self.rest().get(1..end).unwrap_or_default();
        let text = super::quote::unquote_body(inner).unwrap_or_default();
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) => Ok(self.take(end + 1, TokenKind::Int(i128::from(u32::from(one))))),
            _ => self.fail(format!("malformed character constant: '{inner}'")),
        }
    }

    fn number(&mut self) -> Result<TokenKind, TemplateError> {
        let rest = self.rest();
        let mut before = ' ';
        let end = rest.find(|c: char| {
            let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E' | 'p' | 'P' | ' ');
            before = c;
            !(sign || c == '.' || is_word(c))
        });
        let written = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        match parse_number(written) {
            Some(kind) => Ok(self.take(written.len(), kind)),
            None => self.fail(format!("bad number syntax: {written:?}")),
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Go's integer and float literals: underscores between digits, prefixes 0x, 0o, 0b and 0.
fn parse_number(written: &str) -> Option<TokenKind> {
    let (sign, digits) = match written.strip_prefix(['+', '-']) {
        Some(rest) => (if written.starts_with('-') { -1 } else { 1 }, rest),
        None => (1, written),
    };
    let plain = digits.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let (radix, body) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)?),
        Some("0o") => (8, lower.get(2..)?),
        Some("0b") => (2, lower.get(2..)?),
        Some(two) if two.starts_with('0') && two.ends_with(|c: char| c.is_ascii_digit()) => {
            (8, lower.get(1..)?)
        }
        _ => (10, lower.as_str()),
    };
    let whole = !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric());
    if let Some(number) = whole.then(|| i64::from_str_radix(body, radix).ok()).flatten() {
        return Some(TokenKind::Int(sign * i128::from(number)));
    }
    let float = lower.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    let number: f64 = if float { lower.parse().ok()? } else { return None };
    number.is_finite().then_some(TokenKind::Float(if sign < 0 { -number } else { number }))
}
