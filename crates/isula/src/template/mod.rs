//! Go's `text/template` over JSON, for every `--format`: the whole language but named templates,
//! with Docker's functions. No template and no document makes it panic, overflow the stack or
//! produce more than 64 MiB.

mod compare;
mod evaluate;
mod format;
mod functions;
mod lex;
mod parse;
mod quote;
mod range;
mod tree;

#[cfg(test)]
mod tests;

use crate::json::Value;

pub(crate) use quote::quote;

/// A template that parsed.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    nodes: Vec<tree::Node>,
}

/// Why a template can't be parsed or executed, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does not parse.
    #[error("template parsing error: template: :{line}: {message}")]
    Syntax {
        /// Line in the template, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It does not fit what it was executed on.
    #[error("template: :{line}:{column}: executing \"\" at <{context}>: {message}")]
    Execution {
        /// Line in the template, from 1.
        line: usize,
        /// Byte in the line, from 0.
        column: usize,
        /// The part of the template.
        context: String,
        /// What is wrong.
        message: String,
    },
}

impl TemplateError {
    fn syntax(template: &str, at: usize, message: impl Into<String>) -> Self {
        Self::Syntax { line: place(template, at).0, message: message.into() }
    }

    fn execution(template: &str, at: usize, context: String, message: String) -> Self {
        let (line, column) = place(template, at);
        Self::Execution { line, column, context, message }
    }
}

fn place(template: &str, at: usize) -> (usize, usize) {
    let before = template.get(..at).unwrap_or(template);
    let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.matches('\n').count(), column)
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`].
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Ok(Self { source: source.to_owned(), nodes: parse::parse(source)? })
    }

    /// The text that the template makes of a document.
    ///
    /// # Errors
    /// [`TemplateError::Execution`] at the first part that does not fit.
    pub fn execute(&self, root: &Value) -> Result<String, TemplateError> {
        evaluate::execute(&self.source, &self.nodes, root)
    }
}
