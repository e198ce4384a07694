//! Runs a syntax tree: statements write text and set names, expressions have values.

use super::ast::{Argument, Body, Expr, For, Macro, Node, Operator, Postfix, Target};
use super::checks::TESTS;
use super::filters::FILTERS;
use super::globals::GLOBALS;
use super::operators::{attribute, binary, item, negative, slice};
use super::python::{Text, display};
use super::value::Value;
use super::value::native::{Arguments, apply, find};
use super::value::run::{Loop, NAMED, Object, Result, Run, VALUE, collect, error, limit};
use super::value::text::{Str, Traced};
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// Expressions, statements and calls in each other. Each takes less than 2 KB of stack, of which browsers give 1 MB.
const MAX_DEPTH: usize = 350;

type Scope = Vec<(Rc<str>, Value)>;

/// One rendering.
pub(super) struct Renderer {
    run: Run,
    /// names and values: the template's own, then those of loops, blocks and macros inside each other
    scopes: Vec<Scope>,
    out: Traced,
    max_out: usize,
    /// how many captures `out` is inside of
    captures: usize,
    depth: usize,
    /// the line of the statement that runs
    pub(super) line: u32,
}

/// Whether a loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Where a call came from.
struct Outside {
    scopes: Vec<Scope>,
    line: u32,
}

impl Renderer {
    /// With the host's variables; the output has at most `max_out` bytes.
    pub(super) fn new(run: Run, variables: Scope, max_out: usize) -> Renderer {
        let scopes = Vec::from([variables, Vec::new()]);
        Renderer { run, scopes, out: Traced::default(), max_out, captures: 0, depth: 0, line: 1 }
    }

    /// Runs a template. Afterwards, [`line`](Self::line) is where it ended.
    pub(super) fn render(&mut self, body: &Body) -> Result<Traced> {
        self.body(body)?;
        Ok(core::mem::take(&mut self.out))
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { limit("recursion") } else { Ok(()) }
    }

    fn emit(&mut self, text: &Str) -> Result<()> {
        if self.captures > 0 {
            self.run.make(text.len())?;
        } else if self.out.text().len() + text.len() > self.max_out {
            return limit("output");
        }
        self.run.make(text.turn_bytes())?;
        self.out.push(text, text);
        Ok(())
    }

    /// From here to [`end_capture`](Self::end_capture), what is written is kept apart. Gives what was written so far.
    fn begin_capture(&mut self) -> Traced {
        self.captures += 1;
        core::mem::take(&mut self.out)
    }

    fn end_capture(&mut self, outside: Traced) -> Result {
        self.captures -= 1;
        self.run.finished(core::mem::replace(&mut self.out, outside))
    }

    /// What a body with names of its own writes.
    fn captured(&mut self, body: &Body) -> Result<(Value, Flow)> {
        let outside = self.begin_capture();
        let flow = self.scoped(body)?;
        Ok((self.end_capture(outside)?, flow))
    }

    /// Runs a body with names of its own. After an error nobody needs the scopes.
    fn scoped(&mut self, body: &Body) -> Result<Flow> {
        self.scopes.push(Vec::new());
        let flow = self.body(body)?;
        self.scopes.pop();
        Ok(flow)
    }

    /// Leaves all but the first `visible` scopes, and opens a new one. Gives what was left.
    fn jump(&mut self, visible: usize) -> Outside {
        let scopes = self.scopes.split_off(visible.min(self.scopes.len()));
        self.scopes.push(Vec::new());
        Outside { scopes, line: self.line }
    }

    fn jump_back(&mut self, outside: Outside) {
        self.scopes.pop();
        self.scopes.extend(outside.scopes);
        self.line = outside.line;
    }

    fn look_up(&self, name: &str) -> Value {
        let names = self.scopes.iter().rev().flat_map(|scope| scope.iter());
        if let Some((_, value)) = names.into_iter().find(|(other, _)| &**other == name) {
            return value.clone();
        }
        match find(&GLOBALS, name) {
            Some(global) if name != "strftime_now" || self.run.now.is_some() => Value::Function(global),
            _ => Value::undefined(&format!("'{name}' is undefined")),
        }
    }

    fn set(&mut self, name: &Rc<str>, value: Value) {
        let Some(scope) = self.scopes.last_mut() else { return };
        match scope.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => scope.push((Rc::clone(name), value)),
        }
    }
}

// Statements.
impl Renderer {
    fn body(&mut self, body: &Body) -> Result<Flow> {
        self.enter()?;
        let mut flow = Flow::Next;
        for statement in body {
            self.line = statement.line;
            self.run.step()?;
            flow = self.statement(&statement.node)?;
            if flow != Flow::Next {
                break;
            }
        }
        self.depth -= 1;
        Ok(flow)
    }

    fn statement(&mut self, node: &Node) -> Result<Flow> {
        match node {
            Node::Text(text) => {
                self.run.literal(text.len())?;
                self.emit(&Str::own(Rc::clone(text)))?;
            }
            Node::Print(value) => {
                let value = self.eval(value)?;
                self.emit(&display(&self.run, &value)?)?;
            }
            Node::If(branches) => {
                for (condition, body) in branches {
                    if self.eval(condition)?.truth() {
                        return self.body(body);
                    }
                }
            }
            Node::For(node) => {
                let items = self.eval(&node.items)?;
                return self.for_loop(node, &items, 0);
            }
            Node::Set(target, value) => {
                let value = self.eval(value)?;
                self.assign(target, value)?;
            }
            Node::SetBlock(target, filters, body) => {
                // After `break` the block has no value.
                let (text, flow) = self.captured(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let text = self.postfix(text, filters)?;
                self.assign(target, text)?;
            }
            Node::Macro(node) => {
                let value = Value::Macro(Rc::clone(node), self.scopes.len());
                self.set(&node.name, value);
            }
            Node::Call(caller, call) => return self.call_block(caller, call),
            Node::FilterBlock(filters, body) => {
                let (text, flow) = self.captured(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let text = self.postfix(text, filters)?;
                self.emit(&display(&self.run, &text)?)?;
            }
            Node::With(names, body) => return self.with(names, body),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Forbidden(tag) => {
                return error(format!("{{% {tag} %}} would read another template, and there is none"));
            }
        }
        Ok(Flow::Next)
    }

    fn with(&mut self, names: &[(Target, Expr)], body: &Body) -> Result<Flow> {
        let mut values = Vec::new();
        for (_, value) in names {
            values.push(self.eval(value)?);
        }
        self.scopes.push(Vec::new());
        for ((target, _), value) in names.iter().zip(values) {
            self.assign(target, value)?;
        }
        let flow = self.body(body)?;
        self.scopes.pop();
        Ok(flow)
    }

    fn assign(&mut self, target: &Target, value: Value) -> Result<()> {
        match target {
            Target::Name(name) => self.set(name, value),
            Target::Attribute(object, name) => {
                self.run.make(NAMED)?;
                let object = self.look_up(object);
                let mut objects = self.run.objects.borrow_mut();
                let found = if let Value::Object(index) = object { objects.get_mut(index) } else { None };
                let Some(Object::Namespace(names)) = found else {
                    return object.wrong("cannot assign an attribute of {}, which is no namespace");
                };
                match names.iter_mut().find(|(other, _)| **other == **name) {
                    Some((_, old)) => *old = value,
                    None => names.push((Str::own(Rc::clone(name)), value)),
                }
            }
            Target::Tuple(targets) => {
                let items = self.run.items(&value)?;
                if items.len() != targets.len() {
                    return error(format!("{} values to unpack, and {} expected", items.len(), targets.len()));
                }
                for (target, value) in targets.iter().zip(items.iter()) {
                    self.assign(target, value)?;
                }
            }
        }
        Ok(())
    }

    fn for_loop(&mut self, node: &Rc<For>, items: &Value, depth: usize) -> Result<Flow> {
        let mut items = self.run.items(items)?;
        if let Some(filter) = &node.filter {
            let mut kept = Vec::new();
            for value in items.iter() {
                self.run.step()?;
                self.scopes.push(Vec::new());
                self.assign(&node.target, value.clone())?;
                let keep = self.eval(filter)?.truth();
                self.scopes.pop();
                if keep {
                    kept.push(value);
                }
            }
            items = self.run.items(&self.run.list(kept)?)?;
        }
        if items.len() == 0 {
            return self.scoped(&node.otherwise);
        }
        let recursive = node.recursive.then(|| (Rc::clone(node), self.scopes.len()));
        let state = Loop { items: items.clone(), index: 0, depth, changed: None, recursive };
        let object = self.run.object(Object::Loop(state))?;
        let (loop_name, mut finished) = (Rc::from("loop"), false);
        for (index, value) in items.iter().enumerate() {
            self.run.step()?;
            if let Some(Object::Loop(state)) = self.run.objects.borrow_mut().get_mut(object) {
                state.index = index;
            }
            self.scopes.push(Vec::from([(Rc::clone(&loop_name), Value::Object(object))]));
            self.assign(&node.target, value)?;
            let flow = self.body(&node.body)?;
            self.scopes.pop();
            finished |= flow == Flow::Next;
            if flow == Flow::Break {
                break;
            }
        }
        // Jinja2's way: not if there are no items, but if no round came to its end.
        if finished { Ok(Flow::Next) } else { self.scoped(&node.otherwise) }
    }

    /// `{% call(parameters) f(…) %}`: calls `f` with the body as its `caller`.
    fn call_block(&mut self, caller: &Rc<Macro>, call: &Expr) -> Result<Flow> {
        let Expr::Postfix(function, rest) = call else { return Ok(Flow::Next) };
        let Some((Postfix::Call(arguments), before)) = rest.split_last() else { return Ok(Flow::Next) };
        let function = self.eval(function)?;
        let function = self.postfix(function, before)?;
        let mut arguments = self.arguments(arguments)?;
        arguments.named.push((Str::own("caller"), Value::Macro(Rc::clone(caller), self.scopes.len())));
        let text = self.call(&function, arguments)?;
        self.emit(&display(&self.run, &text)?)?;
        Ok(Flow::Next)
    }
}

// Expressions.
impl Renderer {
    fn eval(&mut self, expr: &Expr) -> Result {
        self.run.step()?;
        match expr {
            Expr::None => Ok(Value::None),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Float(value) => Ok(Value::Float(*value)),
            Expr::Str(value) => Ok(Value::Str(Str::own(Rc::clone(value)))),
            Expr::Name(name) => Ok(self.look_up(name)),
            _ => {
                self.enter()?;
                let value = self.compound(expr)?;
                self.depth -= 1;
                Ok(value)
            }
        }
    }

    fn compound(&mut self, expr: &Expr) -> Result {
        match expr {
            Expr::Postfix(value, rest) => {
                let value = self.eval(value)?;
                self.postfix(value, rest)
            }
            Expr::Chain(first, rest) => self.chain(first, rest),
            Expr::If(both, otherwise) => {
                let [then, condition] = &**both;
                match otherwise {
                    _ if self.eval(condition)?.truth() => self.eval(then),
                    Some(otherwise) => self.eval(otherwise),
                    None => Ok(Value::undefined("the condition of an inline if is false, and it has no else")),
                }
            }
            Expr::Not(value) => Ok(Value::Bool(!self.eval(value)?.truth())),
            Expr::Negative(value) => negative(&self.eval(value)?),
            Expr::Positive(value) => negative(&negative(&self.eval(value)?)?),
            Expr::List(items) => {
                let items = self.eval_all(items)?;
                self.run.list(items)
            }
            Expr::Tuple(items) => {
                let items = self.eval_all(items)?;
                self.run.tuple(items)
            }
            Expr::Dict(pairs) => {
                let mut all = Vec::new();
                for (key, value) in pairs {
                    let (key, value) = (self.eval(key)?, self.eval(value)?);
                    self.run.insert(&mut all, key, value)?;
                }
                self.run.dict(all)
            }
            Expr::None | Expr::Bool(_) | Expr::Int(_) | Expr::Float(_) | Expr::Str(_) | Expr::Name(_) => {
                self.eval(expr)
            }
        }
    }

    fn eval_all(&mut self, items: &[Expr]) -> Result<Vec<Value>> {
        collect(&mut items.iter().map(|item| self.eval(item)))
    }

    /// Operators of one precedence: `a + b - c`, `a or b`, `a < b <= c`.
    fn chain(&mut self, first: &Expr, rest: &[(Operator, Expr)]) -> Result {
        let mut value = self.eval(first)?;
        if let Some((Operator::Concat, _)) = rest.first() {
            let mut parts = Vec::from([value]);
            for (_, next) in rest {
                parts.push(self.eval(next)?);
            }
            let mut out = Text::new(&self.run);
            for part in parts {
                let part = display(&self.run, &part)?;
                out.push(&part, &part)?;
            }
            return out.finish();
        }
        for (operator, next) in rest {
            match operator {
                Operator::Or if value.truth() => return Ok(value),
                Operator::And if !value.truth() => return Ok(value),
                Operator::Or | Operator::And => value = self.eval(next)?,
                operator => {
                    let next = self.eval(next)?;
                    let result = binary(&self.run, *operator, &value, &next)?;
                    // Each comparison goes on with its right operand.
                    match operator.compares() {
                        true if !result.truth() => return Ok(result),
                        true => value = next,
                        false => value = result,
                    }
                }
            }
        }
        // Comparisons come here if all of them hold.
        let compared = rest.first().is_some_and(|(operator, _)| operator.compares());
        Ok(if compared { Value::Bool(true) } else { value })
    }

    fn postfix(&mut self, mut value: Value, rest: &[Postfix]) -> Result {
        for part in rest {
            self.run.step()?;
            value = match part {
                Postfix::Attribute(name) => attribute(&self.run, &value, name)?,
                Postfix::Item(key) => {
                    let key = self.eval(key)?;
                    item(&self.run, &value, &key)?
                }
                Postfix::Slice(bounds) => {
                    let mut values = [None, None, None];
                    for (value, bound) in values.iter_mut().zip(bounds.iter()) {
                        *value = bound.as_ref().map(|bound| self.eval(bound)).transpose()?;
                    }
                    slice(&self.run, &value, values)?
                }
                Postfix::Call(arguments) => {
                    let arguments = self.arguments(arguments)?;
                    self.call(&value, arguments)?
                }
                Postfix::Filter(name, arguments) => {
                    let arguments = self.arguments(arguments)?;
                    apply(&self.run, &FILTERS, name, value, arguments)?
                }
                Postfix::Test { name, arguments, negated } => {
                    let arguments = self.arguments(arguments)?;
                    let result = apply(&self.run, &TESTS, name, value, arguments)?;
                    Value::Bool(result.truth() != *negated)
                }
            };
        }
        Ok(value)
    }

    fn arguments(&mut self, given: &[Argument]) -> Result<Arguments> {
        let mut all = Arguments::default();
        for argument in given {
            match argument {
                Argument::Positional(value) => all.positional.push(self.eval(value)?),
                Argument::Named(name, value) => all.named.push((Str::own(Rc::clone(name)), self.eval(value)?)),
                Argument::Spread(list) => {
                    let list = self.eval(list)?;
                    let items = self.run.items(&list)?;
                    self.run.make(items.len() * VALUE)?;
                    all.positional.extend(items.iter());
                }
                Argument::SpreadNamed(dict) => {
                    let Value::Dict(dict) = self.eval(dict)? else { return error("** needs a dictionary") };
                    self.run.make(dict.pairs.len() * NAMED)?;
                    for (key, value) in &dict.pairs {
                        let Value::Str(key) = key else { return error("keywords must be strings") };
                        all.named.push((key.clone(), value.clone()));
                    }
                }
            }
        }
        Ok(all)
    }

    fn call(&mut self, function: &Value, arguments: Arguments) -> Result {
        match function {
            Value::Function(native) => native.call(&self.run, Value::None, arguments),
            Value::Method(method) => method.1.call(&self.run, method.0.clone(), arguments),
            Value::Macro(node, visible) => self.call_macro(node, *visible, arguments),
            Value::Object(index) => self.call_object(*index, arguments),
            other => other.wrong("{} object is not callable"),
        }
    }

    fn call_macro(&mut self, node: &Rc<Macro>, visible: usize, mut given: Arguments) -> Result {
        self.enter()?;
        let extra = given.positional.split_off(node.parameters.len().min(given.positional.len()));
        if !extra.is_empty() && !node.varargs {
            let (name, max) = (&node.name, node.parameters.len());
            return error(format!("macro '{name}' takes not more than {max} argument(s)"));
        }
        let outside = self.jump(visible);
        let mut positional = given.positional.into_iter();
        for (name, default) in &node.parameters {
            let named = given.named.iter().position(|(other, _)| **other == **name);
            let value = match (positional.next(), named, default) {
                (Some(_), Some(_), _) => return error(format!("macro '{}': '{name}' is given twice", node.name)),
                (Some(value), None, _) => value,
                (None, Some(index), _) => given.named.remove(index).1,
                (None, None, Some(default)) => self.eval(default)?,
                (None, None, None) => Value::undefined(&format!("parameter '{name}' was not provided")),
            };
            self.set(name, value);
        }
        if let Some(index) = given.named.iter().position(|(name, _)| &**name == "caller") {
            let (_, caller) = given.named.remove(index);
            self.set(&"caller".into(), caller);
        }
        if node.varargs {
            let extra = self.run.tuple(extra)?;
            self.set(&"varargs".into(), extra);
        }
        if node.kwargs {
            let pairs = given.named.drain(..).map(|(name, value)| (Value::Str(name), value)).collect();
            let pairs = self.run.dict(pairs)?;
            self.set(&"kwargs".into(), pairs);
        }
        if let Some((name, _)) = given.named.first() {
            return error(format!("macro '{}' takes no keyword argument '{}'", node.name, &**name));
        }
        let (text, _) = self.captured(&node.body)?;
        self.jump_back(outside);
        self.depth -= 1;
        Ok(text)
    }

    /// `loop(items)` in a recursive loop, or what a joiner puts between items.
    fn call_object(&mut self, index: usize, mut given: Arguments) -> Result {
        let found = match self.run.objects.borrow_mut().get_mut(index) {
            Some(Object::Joiner(between, used)) => {
                let text = if *used { between.clone() } else { Str::own("") };
                *used = true;
                return Ok(Value::Str(text));
            }
            Some(Object::Loop(Loop { recursive: Some((node, visible)), depth, .. })) => {
                Some((Rc::clone(node), *visible, *depth))
            }
            _ => None,
        };
        let (Some((node, visible, depth)), Some(items), 0) = (found, given.positional.pop(), given.positional.len())
        else {
            return error("only recursive loops can be called, with one argument");
        };
        self.enter()?;
        let outside = self.jump(visible);
        let written = self.begin_capture();
        self.for_loop(&node, &items, depth + 1)?;
        let text = self.end_capture(written)?;
        self.jump_back(outside);
        self.depth -= 1;
        Ok(text)
    }
}
