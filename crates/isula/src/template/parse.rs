//! Builds the tree of a template from its tokens.

use super::lex::{Token, TokenKind, tokens};
use super::tree::{Branch, Command, Node, Operand, OperandKind, Pipeline};
use super::{TemplateError, functions};

/// How deep blocks and parentheses may nest: far more than anyone writes, far less than the stack.
const DEEPEST: usize = 100;

/// Parses a whole template.
pub(super) fn parse(template: &str) -> Result<Vec<Node>, TemplateError> {
    let tokens = tokens(template)?;
    let variables = vec!["$".to_owned()];
    let mut parser = Parser { template, tokens, next: 0, variables, depth: 0, ranges: 0 };
    let (body, end) = parser.body()?;
    match end {
        End::Exhausted => Ok(body),
        End::Closed => parser.fail("unexpected {{end}}"),
        End::Otherwise(_) => parser.fail("unexpected {{else}}"),
    }
}

struct Parser<'a> {
    template: &'a str,
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    depth: usize,
    ranges: usize,
}

/// What ended a body.
enum End {
    /// The template ends here.
    Exhausted,
    /// `end`.
    Closed,
    /// `else`, with the keyword after it: `else if`, `else with`.
    Otherwise(Option<Kind>),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    If,
    With,
    Range,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn advance(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, TemplateError> {
        let token = self.tokens.get(self.next.saturating_sub(1));
        let at = token.map_or(self.template.len(), |token| token.at);
        Err(TemplateError::syntax(self.template, at, message))
    }

    fn unexpected<T>(&self, token: Option<&Token>, context: &str) -> Result<T, TemplateError> {
        match token {
            Some(token) => self.fail(format!("unexpected {} in {context}", token.kind.describe())),
            None => self.fail("unexpected EOF"),
        }
    }

    fn descend(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST { self.fail("nested too deeply") } else { Ok(()) }
    }

    fn body(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        self.descend()?;
        let mut nodes = Vec::new();
        let end = loop {
            let Some(token) = self.advance() else { break End::Exhausted };
            match token.kind {
                TokenKind::Text(text) => nodes.push(Node::Text(text)),
                TokenKind::Open => match self.action(&mut nodes)? {
                    Some(end) => break end,
                    None => continue,
                },
                _ => return self.unexpected(Some(&token), "input"),
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn action(&mut self, nodes: &mut Vec<Node>) -> Result<Option<End>, TemplateError> {
        let Some(TokenKind::Word(word)) = self.peek().cloned() else {
            let pipeline = self.pipeline("command", false)?;
            nodes.push(Node::Action(pipeline));
            return Ok(None);
        };
        let kind = match word.as_str() {
            "if" => Kind::If,
            "with" => Kind::With,
            "range" => Kind::Range,
            "end" => {
                self.next += 1;
                self.close("end")?;
                return Ok(Some(End::Closed));
            }
            "else" => {
                self.next += 1;
                return Ok(Some(End::Otherwise(self.else_kind()?)));
            }
            "break" | "continue" => {
                self.next += 1;
                if self.ranges == 0 {
                    return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.close(&word)?;
                nodes.push(if word == "break" { Node::Break } else { Node::Continue });
                return Ok(None);
            }
            "define" | "template" | "block" => {
                return self.fail(format!("{{{{{word}}}}} is not supported"));
            }
            _ => {
                let pipeline = self.pipeline("command", false)?;
                nodes.push(Node::Action(pipeline));
                return Ok(None);
            }
        };
        self.next += 1;
        nodes.push(self.control(kind)?);
        Ok(None)
    }

    fn else_kind(&mut self) -> Result<Option<Kind>, TemplateError> {
        let kind = match self.peek() {
            Some(TokenKind::Word(word)) if word == "if" => Kind::If,
            Some(TokenKind::Word(word)) if word == "with" => Kind::With,
            _ => return self.close("else").map(|()| None),
        };
        self.next += 1;
        Ok(Some(kind))
    }

    fn close(&mut self, context: &str) -> Result<(), TemplateError> {
        let token = self.advance();
        match token {
            Some(Token { kind: TokenKind::Close, .. }) => Ok(()),
            other => self.unexpected(other.as_ref(), context),
        }
    }

    fn control(&mut self, kind: Kind) -> Result<Node, TemplateError> {
        let (context, range) = match kind {
            Kind::If => ("if", false),
            Kind::With => ("with", false),
            Kind::Range => ("range", true),
        };
        let scope = self.variables.len();
        let pipeline = self.pipeline(context, range)?;
        self.ranges += usize::from(range);
        let (body, end) = self.body()?;
        self.ranges -= usize::from(range);
        let otherwise = match end {
            End::Closed => Vec::new(),
            End::Exhausted => return self.fail("unexpected EOF"),
            End::Otherwise(Some(chained)) if !range => {
                if chained != kind {
                    return self.fail(format!("unexpected else in {context}"));
                }
                self.descend()?;
                let node = self.control(chained)?;
                self.depth -= 1;
                vec![node]
            }
            End::Otherwise(Some(_)) => return self.fail("unexpected else in range"),
            End::Otherwise(None) => match self.body()? {
                (body, End::Closed) => body,
                (_, End::Otherwise(_)) => return self.fail("expected end; found {{else}}"),
                (_, End::Exhausted) => return self.fail("unexpected EOF"),
            },
        };
        self.variables.truncate(scope);
        let branch = Branch { pipeline, body, otherwise };
        Ok(match kind {
            Kind::If => Node::If(branch),
            Kind::With => Node::With(branch),
            Kind::Range => Node::Range(branch),
        })
    }

    /// A pipeline up to and with its closing delimiter.
    fn pipeline(&mut self, context: &str, range: bool) -> Result<Pipeline, TemplateError> {
        let pipeline = self.open_pipeline(context, range)?;
        self.close(context)?;
        Ok(pipeline)
    }

    fn open_pipeline(&mut self, context: &str, range: bool) -> Result<Pipeline, TemplateError> {
        let (variables, declares) = self.declarations(context, range)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(context)?;
            if !commands.is_empty() && !starts_with_a_call(&command) {
                let stage = commands.len() + 1;
                return self.fail(format!("non executable command in pipeline stage {stage}"));
            }
            commands.push(command);
            if !matches!(self.peek(), Some(TokenKind::Pipe)) {
                break;
            }
            self.next += 1;
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, declares, commands })
    }

    fn declarations(
        &mut self,
        context: &str,
        range: bool,
    ) -> Result<(Vec<String>, bool), TemplateError> {
        let name = |kind: Option<&Token>| match kind.map(|token| &token.kind) {
            Some(TokenKind::Variable(name)) => Some(name.clone()),
            _ => None,
        };
        let Some(first) = name(self.tokens.get(self.next)) else { return Ok((Vec::new(), false)) };
        let mut variables = vec![first];
        let mut ahead = self.next + 1;
        if range && matches!(self.tokens.get(ahead).map(|t| &t.kind), Some(TokenKind::Comma)) {
            let Some(second) = name(self.tokens.get(ahead + 1)) else {
                return self.fail("range can only initialize variables");
            };
            variables.push(second);
            ahead += 2;
        }
        let declares = match self.tokens.get(ahead).map(|token| &token.kind) {
            Some(TokenKind::Declare) => true,
            Some(TokenKind::Assign) => false,
            Some(TokenKind::Comma) => {
                return self.fail(format!("too many declarations in {context}"));
            }
            _ if variables.len() > 1 => return self.fail("expected := or ="),
            _ => return Ok((Vec::new(), false)),
        };
        if !declares {
            variables.iter().try_for_each(|name| self.known(name))?;
        }
        self.next = ahead + 1;
        Ok((variables, declares))
    }

    fn known(&self, name: &str) -> Result<(), TemplateError> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        self.fail(format!("undefined variable {name:?}"))
    }

    fn command(&mut self, context: &str) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        while !matches!(
            self.peek(),
            None | Some(TokenKind::Close | TokenKind::Pipe | TokenKind::RightParen)
        ) {
            operands.push(self.operand()?);
        }
        if operands.is_empty() {
            return match self.peek() {
                Some(TokenKind::Pipe | TokenKind::RightParen) => {
                    let token = self.advance();
                    self.unexpected(token.as_ref(), "operand")
                }
                _ => self.fail(format!("missing value for {context}")),
            };
        }
        Ok(Command { operands })
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let Some(Token { kind, at, .. }) = self.advance() else {
            return self.unexpected(None, "operand");
        };
        let kind = match kind {
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Field(name) => OperandKind::Field(vec![name]),
            TokenKind::Variable(name) => {
                self.known(&name)?;
                OperandKind::Variable(name, Vec::new())
            }
            TokenKind::Int(number) => OperandKind::Int(number),
            TokenKind::Float(number) => OperandKind::Float(number),
            TokenKind::Quoted(text, written) => OperandKind::Text(text, written),
            TokenKind::Word(word) => match word.as_str() {
                "true" => OperandKind::Bool(true),
                "false" => OperandKind::Bool(false),
                "nil" => OperandKind::Nil,
                name if functions::exists(name) => OperandKind::Function(word),
                name => return self.fail(format!("function {name:?} not defined")),
            },
            TokenKind::LeftParen => self.parenthesis()?,
            other => {
                let token = Token { kind: other, at, spaced: false };
                return self.unexpected(Some(&token), "operand");
            }
        };
        self.chain(Operand { at, kind })
    }

    fn parenthesis(&mut self) -> Result<OperandKind, TemplateError> {
        self.descend()?;
        let scope = self.variables.len();
        let inner = self.open_pipeline("parenthesized pipeline", false)?;
        self.variables.truncate(scope);
        self.depth -= 1;
        match self.advance() {
            Some(Token { kind: TokenKind::RightParen, .. }) => {
                Ok(OperandKind::Pipeline(Box::new(inner)))
            }
            other => self.unexpected(other.as_ref(), "parenthesized pipeline"),
        }
    }

    /// Fields that follow without a space belong to the operand; the operand's place is then that
    /// of its second field, which is what Go's errors cite.
    fn chain(&mut self, operand: Operand) -> Result<Operand, TemplateError> {
        let mut names = Vec::new();
        let mut place = operand.at;
        while let Some(Token { kind: TokenKind::Field(name), at, spaced: false }) =
            self.tokens.get(self.next)
        {
            if names.is_empty() {
                place = *at;
            }
            names.push(name.clone());
            self.next += 1;
        }
        if names.is_empty() {
            return Ok(operand);
        }
        let kind = match operand.kind {
            OperandKind::Field(mut first) => {
                first.extend(names);
                OperandKind::Field(first)
            }
            OperandKind::Variable(name, _) => OperandKind::Variable(name, names),
            OperandKind::Pipeline(_) | OperandKind::Function(_) => {
                OperandKind::Chain(Box::new(operand), names)
            }
            kind => {
                let shown = format!(".{}", names.join("."));
                return self.fail(format!("unexpected {shown} after term {:?}", kind.to_string()));
            }
        };
        Ok(Operand { at: place, kind })
    }
}

/// Only these can take the value of the stage before them.
fn starts_with_a_call(command: &Command) -> bool {
    command.operands.first().is_some_and(|operand| {
        !matches!(
            operand.kind,
            OperandKind::Bool(_)
                | OperandKind::Dot
                | OperandKind::Nil
                | OperandKind::Int(_)
                | OperandKind::Float(_)
                | OperandKind::Text(..)
        )
    })
}
