//! What a template is made of once it is parsed, and how an error cites its parts.

use std::fmt;

/// One element of a template's body.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

/// `if`, `with` or `range`: a condition, its body and what holds otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub pipeline: Pipeline,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub variables: Vec<String>,
    /// `:=` makes new variables, `=` sets old ones.
    pub declares: bool,
    pub commands: Vec<Command>,
}

/// Operands side by side: the first is the function or field, the others its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub operands: Vec<Operand>,
}

/// One operand and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub at: usize,
    pub kind: OperandKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// Its value and how it was written.
    Text(String, String),
    /// `.A.B`.
    Field(Vec<String>),
    /// `$a.B.C`.
    Variable(String, Vec<String>),
    Function(String),
    Pipeline(Box<Pipeline>),
    /// `(pipeline).A.B`.
    Chain(Box<Operand>, Vec<String>),
}

impl fmt::Display for Pipeline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.declares { ":=" } else { "=" };
            write!(out, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(out, "{}{command}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            match &operand.kind {
                OperandKind::Pipeline(inner) => write!(out, "{space}({inner})")?,
                kind => write!(out, "{space}{kind}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for OperandKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |out: &mut fmt::Formatter<'_>, names: &[String]| {
            names.iter().try_for_each(|name| write!(out, ".{name}"))
        };
        match self {
            Self::Dot => out.write_str("."),
            Self::Nil => out.write_str("nil"),
            Self::Bool(bit) => write!(out, "{bit}"),
            Self::Int(number) => write!(out, "{number}"),
            Self::Float(number) => write!(out, "{number}"),
            Self::Text(_, written) => out.write_str(written),
            Self::Field(names) => fields(out, names),
            Self::Variable(name, names) => {
                out.write_str(name)?;
                fields(out, names)
            }
            Self::Function(name) => out.write_str(name),
            Self::Pipeline(inner) => write!(out, "({inner})"),
            Self::Chain(operand, names) => {
                write!(out, "{}", operand.kind)?;
                fields(out, names)
            }
        }
    }
}
