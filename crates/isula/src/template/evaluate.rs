//! Executes a parsed template.

use std::borrow::Cow;

use super::tree::{Branch, Command, Node, Operand, OperandKind, Pipeline};
use super::{TemplateError, format, functions};
use crate::json::{Method, Value};

/// Output beyond this is refused: a `range` over a large number must not eat the memory.
pub(super) const LONGEST: usize = 64 << 20;

/// A value of the document, or one that was made.
pub(super) type Item<'a> = Cow<'a, Value>;

/// Executes `nodes`, which were parsed from `source`.
pub(super) fn execute(source: &str, nodes: &[Node], root: &Value) -> Result<String, TemplateError> {
    let variables = vec![("$".to_owned(), Cow::Borrowed(root))];
    let mut machine = Machine { source, out: String::new(), variables };
    machine.body(nodes, &Cow::Borrowed(root))?;
    Ok(machine.out)
}

pub(super) struct Machine<'a> {
    source: &'a str,
    out: String,
    pub variables: Vec<(String, Item<'a>)>,
}

/// How a body ended.
#[derive(PartialEq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Machine<'a> {
    pub fn fail<T>(
        &self,
        at: usize,
        context: &impl ToString,
        message: impl Into<String>,
    ) -> Result<T, TemplateError> {
        Err(TemplateError::execution(self.source, at, context.to_string(), message.into()))
    }

    pub fn body(&mut self, nodes: &[Node], dot: &Item<'a>) -> Result<Flow, TemplateError> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::On
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.out.push_str(&format::printed(&value));
                    }
                    Flow::On
                }
                Node::If(branch) | Node::With(branch) => {
                    self.branch(branch, dot, matches!(node, Node::With(_)))?
                }
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if self.out.len() > LONGEST {
                return self.fail(0, &"output", "the output is longer than 64 MiB");
            }
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn branch(
        &mut self,
        branch: &Branch,
        dot: &Item<'a>,
        moves_dot: bool,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let flow = if functions::truth(&value) {
            self.body(&branch.body, if moves_dot { &value } else { dot })
        } else {
            self.body(&branch.otherwise, dot)
        };
        self.variables.truncate(scope);
        flow
    }

    pub fn bind(&mut self, name: &str, value: Item<'a>, declares: bool) {
        let old = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        match old {
            Some(variable) if !declares => variable.1 = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    /// The value of a pipeline; its variables are bound to it.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Item<'a>) -> Result<Item<'a>, TemplateError> {
        let value = self.evaluate(pipeline, dot)?;
        for name in &pipeline.variables {
            self.bind(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    pub fn evaluate(
        &mut self,
        pipeline: &Pipeline,
        dot: &Item<'a>,
    ) -> Result<Item<'a>, TemplateError> {
        let mut value: Option<Item<'a>> = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value.take())?);
        }
        Ok(value.unwrap_or(Cow::Owned(Value::Null)))
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Item<'a>,
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>, TemplateError> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Cow::Owned(Value::Null));
        };
        if let OperandKind::Function(name) = &first.kind {
            return self.call(name, command, dot, last);
        }
        if first.kind == OperandKind::Nil {
            return self.fail(first.at, &first.kind, "nil is not a command");
        }
        let takes = matches!(first.kind, OperandKind::Field(_));
        if rest.is_empty() && last.is_none() {
            let value = self.operand(first, dot)?;
            return match &*value {
                Value::Method(_) => self.fail(
                    first.at,
                    &first.kind,
                    format!("wrong number of args for {}: want 1 got 0", last_name(&first.kind)),
                ),
                _ => Ok(value),
            };
        }
        let value = self.operand(first, dot)?;
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        match (&*value, arguments.as_slice()) {
            (Value::Method(method), [name]) => match &**name {
                Value::String(name) => Ok(Cow::Owned(answer(method, name))),
                _ => self.fail(first.at, command, "wrong type of argument; expected string"),
            },
            (Value::Method(_), many) => {
                let name = last_name(&first.kind);
                let got = many.len();
                let message = format!("wrong number of args for {name}: want 1 got {got}");
                self.fail(first.at, &first.kind, message)
            }
            _ if takes => {
                let name = last_name(&first.kind);
                let message = format!("{name} is not a method but has arguments");
                self.fail(first.at, &first.kind, message)
            }
            _ => self.fail(
                first.at,
                &first.kind,
                format!("can't give argument to non-function {}", first.kind),
            ),
        }
    }

    fn call(
        &mut self,
        name: &str,
        command: &Command,
        dot: &Item<'a>,
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>, TemplateError> {
        let (at, rest) = match command.operands.split_first() {
            Some((first, rest)) => (first.at, rest),
            None => (0, command.operands.as_slice()),
        };
        let lazy = matches!(name, "and" | "or");
        let mut arguments = Vec::new();
        for operand in rest {
            let value = self.operand(operand, dot)?;
            // `and` and `or` look at no argument after the one that decides.
            if lazy && functions::truth(&value) == (name == "or") {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(last);
        if lazy {
            return match arguments.pop() {
                Some(value) => Ok(value),
                None => {
                    let message = format!("wrong number of args for {name}: want at least 1 got 0");
                    self.fail(at, &name, message)
                }
            };
        }
        let owned: Vec<&Value> = arguments.iter().map(|item| &**item).collect();
        match functions::call(name, &owned) {
            Ok(value) => Ok(Cow::Owned(value)),
            Err(functions::Fault::Count(message)) => self.fail(at, &name, message),
            Err(functions::Fault::Failed(message)) => {
                self.fail(at, command, format!("error calling {name}: {message}"))
            }
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Item<'a>) -> Result<Item<'a>, TemplateError> {
        let value = match &operand.kind {
            OperandKind::Dot => return Ok(dot.clone()),
            OperandKind::Nil => Value::Null,
            OperandKind::Bool(bit) => Value::Bool(*bit),
            OperandKind::Int(number) => Value::Int(*number),
            OperandKind::Float(number) => Value::Float(*number),
            OperandKind::Text(text, _) => Value::String(text.clone()),
            OperandKind::Field(names) => return self.fields(operand, dot.clone(), names),
            OperandKind::Variable(name, names) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = found.map(|(_, value)| value.clone());
                let value = value.unwrap_or(Cow::Owned(Value::Null));
                return self.fields(operand, value, names);
            }
            OperandKind::Function(name) => {
                let kind = OperandKind::Function(name.clone());
                let alone = Command { operands: vec![Operand { at: operand.at, kind }] };
                return self.call(name, &alone, dot, None);
            }
            OperandKind::Pipeline(inner) => {
                let scope = self.variables.len();
                let value = self.pipeline(inner, dot);
                self.variables.truncate(scope);
                return value;
            }
            OperandKind::Chain(inner, names) => {
                let value = self.operand(inner, dot)?;
                return self.fields(operand, value, names);
            }
        };
        Ok(Cow::Owned(value))
    }

    fn fields(
        &self,
        operand: &Operand,
        start: Item<'a>,
        names: &[String],
    ) -> Result<Item<'a>, TemplateError> {
        let mut value = start;
        for name in names {
            let found = match value {
                Cow::Borrowed(borrowed) => borrowed.get(name).map(Cow::Borrowed),
                Cow::Owned(ref owned) => owned.get(name).cloned().map(Cow::Owned),
            };
            value = match (found, &*value) {
                (Some(found), _) => found,
                (None, Value::Null) => {
                    let message = format!("nil data; no entry for key {name:?}");
                    return self.fail(operand.at, &operand.kind, message);
                }
                // No field of a document begins with a small letter, but a label may: a label
                // that is not there has no value, a field that is not there is a mistake.
                (None, Value::Map(_)) if !name.starts_with(char::is_uppercase) => {
                    Cow::Owned(Value::Null)
                }
                (None, _) => {
                    let message = format!("can't evaluate field {name}");
                    return self.fail(operand.at, &operand.kind, message);
                }
            };
        }
        Ok(value)
    }
}

fn last_name(kind: &OperandKind) -> String {
    match kind {
        OperandKind::Field(names) | OperandKind::Variable(_, names) => {
            names.last().cloned().unwrap_or_else(|| kind.to_string())
        }
        _ => kind.to_string(),
    }
}

fn answer(method: &Method, name: &str) -> Value {
    match method {
        Method::Label(labels) => {
            let found = labels.iter().find(|(key, _)| key == name);
            Value::String(found.map(|(_, value)| value.clone()).unwrap_or_default())
        }
        // `com.example.some-name` is shown as `some name`.
        Method::LabelTitle => {
            let last = name.rsplit('.').next().unwrap_or(name);
            Value::String(last.replace(['-', '_'], " "))
        }
    }
}
