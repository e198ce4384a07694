//! Tokens to a syntax tree, by recursive descent: one function for tags, one for each kind of expression.

use super::ChatError;
use super::ast::{Argument, Body, Expr, For, Macro, Node, Operator, Postfix, Statement, Target};
use super::lexer::{self, Token, tokens};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Tags in tags, and parentheses in parentheses.
const MAX_DEPTH: usize = 100;

/// Binary operators, the loosest first. `not` stands between `and` and comparisons. All group from the left, `**` too: so
/// Jinja2 does it.
const LEVELS: [&[(&str, Operator)]; 8] = [
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        ("<=", Operator::LessEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterEqual),
        ("in", Operator::In),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("~", Operator::Concat)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("//", Operator::FloorDivide), ("%", Operator::Modulo)],
    &[("**", Operator::Power)],
];
const NOT: usize = 2;
const COMPARISONS: usize = 3;

/// Names that are no variables where an operand could stand.
const KEYWORDS: [&str; 9] = ["if", "else", "and", "or", "not", "in", "is", "elif", "recursive"];

type Result<T = Expr> = lexer::Result<T>;

/// Parses a template, whose ends of line are `\n`.
pub(super) fn parse(source: &str) -> Result<Body> {
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens, at: 0, depth: 0, loops: 0, varargs: false, kwargs: false };
    let (body, _) = parser.body(&[])?;
    Ok(body)
}

struct Parser<'s> {
    tokens: Vec<(Token<'s>, u32)>,
    at: usize,
    depth: usize,
    /// loops around this place, as far as the macro around it
    loops: usize,
    /// whether these names have been read in the macro
    varargs: bool,
    kwargs: bool,
}

// Tokens.
impl<'s> Parser<'s> {
    fn peek(&self) -> &Token<'s> {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(_, line)| *line)
    }

    fn next(&mut self) -> Token<'s> {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(lexer::failure(self.line(), message.into()))
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        Err(self.surprise(wanted))
    }

    #[cold]
    #[inline(never)]
    fn surprise(&self, wanted: &str) -> Box<ChatError> {
        let found = match self.peek() {
            Token::Text(_) | Token::PrintStart | Token::TagStart => "text".into(),
            Token::PrintEnd => "'}}'".into(),
            Token::TagEnd => "'%}'".into(),
            Token::Name(name) => format!("'{name:.40}'"),
            Token::Str(_) => "a string".into(),
            Token::Int(_) | Token::Float(_) => "a number".into(),
            Token::Operator(operator) => format!("'{operator}'"),
            Token::End => "the end of the template".to_string(),
        };
        lexer::failure(self.line(), format!("{wanted} expected, {found} found"))
    }

    /// Whether this operator, or word, comes next.
    fn is(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Operator(found) if *found == word) || *self.peek() == Token::Name(word)
    }

    /// Passes over an operator or a word, if it comes next.
    fn skip(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.skip(word) { Ok(()) } else { self.unexpected(&format!("'{word}'")) }
    }

    fn name(&mut self) -> Result<Rc<str>> {
        match *self.peek() {
            Token::Name(name) => {
                self.at += 1;
                Ok(name.into())
            }
            _ => self.unexpected("a name"),
        }
    }

    fn end_of(&mut self, end: Token<'s>, text: &str) -> Result<()> {
        if *self.peek() != end {
            return self.unexpected(text);
        }
        self.at += 1;
        Ok(())
    }

    fn tag_end(&mut self) -> Result<()> {
        self.end_of(Token::TagEnd, "'%}'")
    }

    /// Everything that can contain itself is between `enter` and `leave`.
    fn enter(&mut self) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(Box::new(ChatError::Size { what: "a nesting", found: MAX_DEPTH + 1, max: MAX_DEPTH }));
        }
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// `item, item, …` up to `end`.
    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.skip(end) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.skip(end) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}

// Statements.
impl<'s> Parser<'s> {
    /// Statements up to a tag named in `ends`, which is passed over but for what follows its name.
    fn body(&mut self, ends: &[&str]) -> Result<(Body, &'s str)> {
        self.enter()?;
        let (start, mut body) = (self.line(), Vec::new());
        loop {
            let line = self.line();
            let node = match self.next() {
                Token::Text(text) => Node::Text(text.into()),
                Token::PrintStart => {
                    let value = self.tuple(true)?;
                    self.end_of(Token::PrintEnd, "'}}'")?;
                    Node::Print(value)
                }
                Token::TagStart => match self.next() {
                    Token::Name(name) if ends.contains(&name) => {
                        self.leave();
                        return Ok((body, name));
                    }
                    Token::Name(name) => self.tag(name)?,
                    _ => {
                        self.at -= 1;
                        return self.unexpected("the name of a tag");
                    }
                },
                _ if ends.is_empty() => return Ok((body, "")),
                _ => {
                    let end = ends.last().unwrap_or(&"");
                    return self.fail(format!("the template ends, {{% {end} %}} expected since line {start}"));
                }
            };
            body.push(Statement { line, node });
        }
    }

    /// The rest of a tag's line, the body, and the end tag.
    fn block(&mut self, end: &str) -> Result<Body> {
        self.tag_end()?;
        let (body, _) = self.body(&[end])?;
        // `endblock` may repeat the block's name.
        if end == "endblock" && matches!(self.peek(), Token::Name(_)) {
            self.at += 1;
        }
        self.tag_end()?;
        Ok(body)
    }

    fn tag(&mut self, name: &'s str) -> Result<Node> {
        match name {
            "if" => self.if_tag(),
            "for" => self.for_tag(),
            "set" => self.set_tag(),
            "macro" => {
                let name = self.name()?;
                let parameters = self.parameters()?;
                Ok(Node::Macro(self.macro_of(name, parameters, "endmacro")?))
            }
            "call" => {
                let parameters = if self.is("(") { self.parameters()? } else { Vec::new() };
                let call = self.expression()?;
                let caller = self.macro_of("caller".into(), parameters, "endcall")?;
                match &call {
                    Expr::Postfix(_, rest) if matches!(rest.last(), Some(Postfix::Call(_))) => {
                        Ok(Node::Call(caller, call))
                    }
                    _ => self.fail("{% call %} needs a call"),
                }
            }
            "filter" => {
                let filters = self.filters(true)?;
                Ok(Node::FilterBlock(filters, self.block("endfilter")?))
            }
            "with" => {
                let mut names = Vec::new();
                while *self.peek() != Token::TagEnd {
                    if !names.is_empty() {
                        self.expect(",")?;
                    }
                    let target = self.target()?;
                    self.expect("=")?;
                    names.push((target, self.expression()?));
                }
                Ok(Node::With(names, self.block("endwith")?))
            }
            // Without inheritance a block is its body. `generation` marks an answer, for training.
            "block" => {
                self.name()?;
                Ok(Node::With(Vec::new(), self.block("endblock")?))
            }
            "generation" => Ok(Node::With(Vec::new(), self.block("endgeneration")?)),
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.fail(format!("{{% {name} %}} outside of a loop"));
                }
                self.tag_end()?;
                Ok(if name == "break" { Node::Break } else { Node::Continue })
            }
            "include" | "import" | "from" | "extends" => {
                while !matches!(self.next(), Token::TagEnd | Token::End) {}
                Ok(Node::Forbidden(name.into()))
            }
            _ => self.fail(format!("unknown or misplaced tag '{name:.40}'")),
        }
    }

    fn if_tag(&mut self) -> Result<Node> {
        let mut branches = Vec::new();
        let mut condition = self.expression()?;
        loop {
            self.tag_end()?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            condition = match end {
                "elif" => self.expression()?,
                "else" => {
                    let body = self.block("endif")?;
                    branches.push((Expr::Bool(true), body));
                    return Ok(Node::If(branches));
                }
                _ => {
                    self.tag_end()?;
                    return Ok(Node::If(branches));
                }
            };
        }
    }

    fn for_tag(&mut self) -> Result<Node> {
        let target = self.target()?;
        self.expect("in")?;
        let items = self.tuple(false)?;
        let filter = if self.skip("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip("recursive");
        self.tag_end()?;
        self.loops += 1;
        let (body, end) = self.body(&["else", "endfor"])?;
        self.loops -= 1;
        let otherwise = if end == "else" {
            self.block("endfor")?
        } else {
            self.tag_end()?;
            Vec::new()
        };
        Ok(Node::For(Rc::new(For { target, items, filter, recursive, body, otherwise })))
    }

    fn set_tag(&mut self) -> Result<Node> {
        let target = self.target()?;
        if self.skip("=") {
            let value = self.tuple(true)?;
            self.tag_end()?;
            return Ok(Node::Set(target, value));
        }
        let filters = self.filters(false)?;
        Ok(Node::SetBlock(target, filters, self.block("endset")?))
    }

    /// `(name, name=default, …)`
    fn parameters(&mut self) -> Result<Vec<(Rc<str>, Option<Expr>)>> {
        self.expect("(")?;
        self.list(")", |this| {
            let name = this.name()?;
            let default = if this.skip("=") { Some(this.expression()?) } else { None };
            Ok((name, default))
        })
    }

    /// A macro, of which the body comes next.
    fn macro_of(&mut self, name: Rc<str>, parameters: Vec<(Rc<str>, Option<Expr>)>, end: &str) -> Result<Rc<Macro>> {
        let outside = (self.loops, self.varargs, self.kwargs);
        (self.loops, self.varargs, self.kwargs) = (0, false, false);
        let body = self.block(end)?;
        let (varargs, kwargs) = (self.varargs, self.kwargs);
        (self.loops, self.varargs, self.kwargs) = outside;
        Ok(Rc::new(Macro { name, parameters, body, varargs, kwargs }))
    }

    /// `a`, `a.b` or `a, (b, c)`
    fn target(&mut self) -> Result<Target> {
        let first = self.single_target()?;
        if !self.is(",") {
            return Ok(first);
        }
        let mut all = Vec::from([first]);
        while self.skip(",") && (self.is("(") || matches!(self.peek(), Token::Name(name) if *name != "in")) {
            all.push(self.single_target()?);
        }
        Ok(Target::Tuple(all))
    }

    fn single_target(&mut self) -> Result<Target> {
        if self.skip("(") {
            self.enter()?;
            let inner = self.target()?;
            self.leave();
            self.expect(")")?;
            return Ok(inner);
        }
        let name = self.name()?;
        Ok(if self.skip(".") { Target::Attribute(name, self.name()?) } else { Target::Name(name) })
    }
}

// Expressions.
impl Parser<'_> {
    /// Expressions with commas between are a tuple. `conditional`: whether they may have an `if`.
    fn tuple(&mut self, conditional: bool) -> Result {
        let first = if conditional { self.expression()? } else { self.level(0)? };
        if !self.is(",") {
            return Ok(first);
        }
        let mut items = Vec::from([first]);
        while self.skip(",") && !matches!(self.peek(), Token::PrintEnd | Token::TagEnd) && !self.is(")") {
            items.push(if conditional { self.expression()? } else { self.level(0)? });
        }
        Ok(Expr::Tuple(items))
    }

    fn expression(&mut self) -> Result {
        self.enter()?;
        let mut value = self.level(0)?;
        while self.skip("if") {
            let condition = self.level(0)?;
            let otherwise = if self.skip("else") { Some(Box::new(self.expression()?)) } else { None };
            value = Expr::If(Box::new([value, condition]), otherwise);
        }
        self.leave();
        Ok(value)
    }

    /// Operators of `LEVELS[level]` and those that bind tighter.
    fn level(&mut self, level: usize) -> Result {
        if level == LEVELS.len() {
            return self.operand(true);
        }
        if level == NOT && self.skip("not") {
            self.enter()?;
            let value = self.level(NOT)?;
            self.leave();
            return Ok(Expr::Not(Box::new(value)));
        }
        let first = self.level(level + 1)?;
        let mut rest = Vec::new();
        while let Some(operator) = self.operator(level) {
            rest.push((operator, self.level(level + 1)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Chain(Box::new(first), rest) })
    }

    fn operator(&mut self, level: usize) -> Option<Operator> {
        if level == COMPARISONS
            && self.is("not")
            && matches!(self.tokens.get(self.at + 1), Some((Token::Name("in"), _)))
        {
            self.at += 2;
            return Some(Operator::NotIn);
        }
        let (_, operator) = LEVELS[level].iter().find(|(word, _)| self.is(word))?;
        self.at += 1;
        Some(*operator)
    }

    /// A value with its sign and what follows it; `filtered`: filters and tests too.
    fn operand(&mut self, filtered: bool) -> Result {
        let negative = self.is("-");
        let value = if self.skip("-") || self.skip("+") {
            self.enter()?;
            let value = Box::new(self.operand(false)?);
            self.leave();
            if negative { Expr::Negative(value) } else { Expr::Positive(value) }
        } else {
            self.primary()?
        };
        let mut rest = Vec::new();
        loop {
            match self.peek() {
                Token::Operator(".") => {
                    self.at += 1;
                    rest.push(match self.next() {
                        Token::Name(name) => Postfix::Attribute(name.into()),
                        Token::Int(index) => Postfix::Item(Expr::Int(index)),
                        _ => {
                            self.at -= 1;
                            return self.unexpected("a name");
                        }
                    });
                }
                Token::Operator("[") => rest.push(self.subscript()?),
                Token::Operator("(") => rest.push(Postfix::Call(self.arguments()?)),
                Token::Operator("|") if filtered => rest.extend(self.filters(false)?),
                Token::Name("is") if filtered => rest.push(self.test()?),
                _ => break,
            }
        }
        Ok(if rest.is_empty() { value } else { Expr::Postfix(Box::new(value), rest) })
    }

    fn primary(&mut self) -> Result {
        let constant = match self.peek() {
            Token::Name("true" | "True") => Expr::Bool(true),
            Token::Name("false" | "False") => Expr::Bool(false),
            Token::Name("none" | "None") => Expr::None,
            Token::Int(value) => Expr::Int(*value),
            Token::Float(value) => Expr::Float(*value),
            Token::Str(_) => {
                let mut text = String::new();
                while let Token::Str(part) = self.peek() {
                    text.push_str(part);
                    self.at += 1;
                }
                return Ok(Expr::Str(text.into()));
            }
            Token::Name(name) if !KEYWORDS.contains(name) => {
                let name = *name;
                self.at += 1;
                self.varargs |= name == "varargs";
                self.kwargs |= name == "kwargs";
                return Ok(Expr::Name(name.into()));
            }
            Token::Operator("(" | "[" | "{") => return self.bracket(),
            _ => return self.unexpected("an expression"),
        };
        self.at += 1;
        Ok(constant)
    }

    fn bracket(&mut self) -> Result {
        if self.skip("[") {
            return Ok(Expr::List(self.list("]", Self::expression)?));
        }
        if self.skip("{") {
            return Ok(Expr::Dict(self.list("}", |this| {
                let key = this.expression()?;
                this.expect(":")?;
                Ok((key, this.expression()?))
            })?));
        }
        self.expect("(")?;
        if self.skip(")") {
            return Ok(Expr::Tuple(Vec::new()));
        }
        let inner = self.tuple(true)?;
        self.expect(")")?;
        Ok(inner)
    }

    /// `[item]` or `[start:stop:step]`
    fn subscript(&mut self) -> Result<Postfix> {
        self.expect("[")?;
        let mut parts = [None, None, None];
        let mut colons = 0;
        while !self.skip("]") {
            if colons < 2 && self.skip(":") {
                colons += 1;
            } else if parts[colons].is_none() {
                parts[colons] = Some(self.tuple(true)?);
            } else {
                return self.unexpected("']'");
            }
        }
        match parts {
            [Some(item), None, None] if colons == 0 => Ok(Postfix::Item(item)),
            // What is empty is a tuple.
            _ if colons == 0 => Ok(Postfix::Item(Expr::Tuple(Vec::new()))),
            parts => Ok(Postfix::Slice(Box::new(parts))),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Argument>> {
        self.expect("(")?;
        self.list(")", |this| {
            if this.skip("**") {
                return Ok(Argument::SpreadNamed(this.expression()?));
            }
            if this.skip("*") {
                return Ok(Argument::Spread(this.expression()?));
            }
            match (this.peek(), this.tokens.get(this.at + 1)) {
                (Token::Name(name), Some((Token::Operator("="), _))) => {
                    let name = Rc::from(*name);
                    this.at += 2;
                    Ok(Argument::Named(name, this.expression()?))
                }
                _ => Ok(Argument::Positional(this.expression()?)),
            }
        })
    }

    /// `| name(…) | name`; `inline`: the first without its `|`.
    fn filters(&mut self, inline: bool) -> Result<Vec<Postfix>> {
        let mut filters = Vec::new();
        while self.skip("|") || (inline && filters.is_empty()) {
            let name = self.name()?;
            let arguments = if self.is("(") { self.arguments()? } else { Vec::new() };
            filters.push(Postfix::Filter(name, arguments));
        }
        Ok(filters)
    }

    /// `is [not] name`, with arguments or one operand
    fn test(&mut self) -> Result<Postfix> {
        self.expect("is")?;
        let negated = self.skip("not");
        let name = self.name()?;
        let arguments = match self.peek() {
            Token::Operator("(") => self.arguments()?,
            Token::Name("is") => return self.fail("tests cannot be chained"),
            Token::Name(name) if KEYWORDS.contains(name) => Vec::new(),
            Token::Name(_) | Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Operator("[" | "{") => {
                Vec::from([Argument::Positional(self.operand(false)?)])
            }
            _ => Vec::new(),
        };
        Ok(Postfix::Test { name, arguments, negated })
    }
}
