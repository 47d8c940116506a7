//! `range`: over lists, maps, numbers and nothing.

use std::borrow::Cow;

use super::evaluate::{Flow, Item, LONGEST, Machine};
use super::tree::{Branch, Pipeline};
use super::{TemplateError, format};
use crate::json::Value;

impl<'a> Machine<'a> {
    /// Executes the body for each element, or the other one if there is none.
    pub fn range(&mut self, branch: &Branch, dot: &Item<'a>) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let value = self.evaluate(&branch.pipeline, dot)?;
        let mut ran = false;
        let mut step = |machine: &mut Self, key: Value, item: Item<'a>| {
            ran = true;
            machine.bind_range(&branch.pipeline, key, &item);
            let flow = machine.body(&branch.body, &item);
            machine.variables.truncate(scope);
            flow
        };
        match value {
            Cow::Borrowed(Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if step(self, number(index), Cow::Borrowed(item))? == Flow::Break {
                        break;
                    }
                }
            }
            Cow::Owned(Value::List(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    if step(self, number(index), Cow::Owned(item))? == Flow::Break {
                        break;
                    }
                }
            }
            Cow::Borrowed(Value::Map(fields)) => {
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, item) in sorted {
                    let key = Value::String(key.clone());
                    if step(self, key, Cow::Borrowed(item))? == Flow::Break {
                        break;
                    }
                }
            }
            Cow::Owned(Value::Map(mut fields)) => {
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, item) in fields {
                    if step(self, Value::String(key), Cow::Owned(item))? == Flow::Break {
                        break;
                    }
                }
            }
            other => self.range_scalar(&other, branch, &mut step)?,
        }
        let flow = if ran { Ok(Flow::On) } else { self.body(&branch.otherwise, dot) };
        self.variables.truncate(scope);
        flow
    }

    fn range_scalar(
        &mut self,
        value: &Value,
        branch: &Branch,
        step: &mut impl FnMut(&mut Self, Value, Item<'a>) -> Result<Flow, TemplateError>,
    ) -> Result<(), TemplateError> {
        match value {
            Value::Null => {}
            Value::Int(count) => {
                let mut index = 0;
                while index < *count {
                    let item = Cow::Owned(Value::Int(index));
                    if step(self, Value::Int(index), item)? == Flow::Break {
                        break;
                    }
                    index += 1;
                    // An empty body adds nothing to the output, whose length is the other limit.
                    if index > LONGEST as i128 {
                        return self.fail(0, &branch.pipeline, "too many rounds of range");
                    }
                }
            }
            other => {
                let at = first_place(&branch.pipeline);
                let shown = format::printed(other);
                return self.fail(
                    at,
                    &branch.pipeline,
                    format!("range can't iterate over {shown}"),
                );
            }
        }
        Ok(())
    }

    fn bind_range(&mut self, pipeline: &Pipeline, key: Value, item: &Item<'a>) {
        let values = match pipeline.variables.len() {
            0 => return,
            // Go gives the element to the only variable.
            1 => vec![item.clone()],
            _ => vec![Cow::Owned(key), item.clone()],
        };
        for (name, value) in pipeline.variables.iter().zip(values) {
            self.bind(name, value, pipeline.declares);
        }
    }
}

fn number(index: usize) -> Value {
    Value::Int(index as i128)
}

fn first_place(pipeline: &Pipeline) -> usize {
    let first = pipeline.commands.first().and_then(|command| command.operands.first());
    first.map_or(0, |operand| operand.at)
}
