//! The values of a template: Python's, without what a sandboxed template cannot have.

pub(super) mod native;
pub(super) mod run;
pub(super) mod text;

use super::ast::Macro;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use native::Native;
use run::{Result, error};
use text::Str;

/// Values are immutable and shared. What changes (namespaces, loops) lies in the [`Run`](run::Run) and is named by
/// its place there, so values cannot refer to themselves and nothing leaks.
#[derive(Clone)]
pub(super) enum Value {
    /// Prints as nothing; any other use is an error with this message.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, as JSON has written it: for printing, not for arithmetic.
    Digits(Rc<str>),
    Float(f64),
    Str(Str),
    List(Rc<List>),
    Tuple(Rc<List>),
    Dict(Rc<Dict>),
    Range(Rc<Range>),
    /// An index into `Run::objects`.
    Object(usize),
    /// A macro, and how many scopes it sees.
    Macro(Rc<Macro>, usize),
    Function(&'static Native),
    /// A method of a value, not yet called.
    Method(Rc<(Value, &'static Native)>),
}

pub(super) struct List {
    pub(super) items: Vec<Value>,
    /// of a tuple whose items have names, those
    pub(super) names: &'static [&'static str],
    /// levels of containers, this one included
    pub(super) depth: usize,
}

/// In order of insertion. Look-ups go through all pairs: dictionaries of templates are small, and others pay.
pub(super) struct Dict {
    pub(super) pairs: Vec<(Value, Value)>,
    pub(super) depth: usize,
}

pub(super) struct Range {
    pub(super) start: i64,
    pub(super) stop: i64,
    pub(super) step: i64,
    pub(super) len: usize,
}

/// What a loop goes through.
#[derive(Clone)]
pub(super) enum Items {
    Many(Rc<List>),
    Range(Rc<Range>),
}

/// A bool is a number too.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Value {
    pub(super) fn undefined(what: &str) -> Value {
        Value::Undefined(what.into())
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Value::Str(text) = self { Some(text) } else { None }
    }

    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Value::Bool(b) => Some(Number::Int(i64::from(*b))),
            Value::Int(n) => Some(Number::Int(*n)),
            Value::Float(x) => Some(Number::Float(*x)),
            _ => None,
        }
    }

    pub(super) fn int(&self) -> Option<i64> {
        if let Some(Number::Int(n)) = self.number() { Some(n) } else { None }
    }

    pub(super) fn truth(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(n) => *n != 0,
            Value::Float(x) => *x != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(list) | Value::Tuple(list) => !list.items.is_empty(),
            Value::Dict(dict) => !dict.pairs.is_empty(),
            Value::Range(range) => range.len > 0,
            _ => true,
        }
    }

    /// Whether it has `()`. What is undefined has one too, which always fails.
    pub(super) fn is_callable(&self) -> bool {
        matches!(self, Value::Undefined(_) | Value::Macro(..) | Value::Function(_) | Value::Method(_))
    }

    /// How many containers deep; 0 for what is none.
    pub(super) fn depth(&self) -> usize {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) => dict.depth,
            Value::Method(method) => method.0.depth() + 1,
            _ => 0,
        }
    }

    /// The name of its type in Python.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Digits(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Range(_) => "range",
            Value::Object(_) => "object",
            Value::Macro(..) => "Macro",
            Value::Function(_) => "function",
            Value::Method(_) => "builtin_function_or_method",
        }
    }

    /// The value itself, unless it is undefined.
    pub(super) fn defined(&self) -> Result<&Value> {
        if let Value::Undefined(why) = self { error(String::from(&**why)) } else { Ok(self) }
    }

    /// An error about this value's type: `what` with `{}` for it.
    pub(super) fn wrong<T>(&self, what: &str) -> Result<T> {
        error(self.why_wrong(what))
    }

    #[cold]
    #[inline(never)]
    fn why_wrong(&self, what: &str) -> String {
        match (self, what.split_once("{}")) {
            (Value::Undefined(why), _) => String::from(&**why),
            (_, Some((before, after))) => format!("{before}'{}'{after}", self.type_name()),
            _ => String::from(what),
        }
    }
}

impl Items {
    pub(super) fn len(&self) -> usize {
        match self {
            Items::Many(list) => list.items.len(),
            Items::Range(range) => range.len,
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value> {
        match self {
            Items::Many(list) => list.items.get(index).cloned(),
            Items::Range(range) => range.get(index).map(Value::Int),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.len()).map_while(|index| self.get(index))
    }
}

impl Range {
    pub(super) fn get(&self, index: usize) -> Option<i64> {
        (index < self.len).then(|| self.start + self.step * index as i64)
    }
}

impl Number {
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(x) => x,
        }
    }
}
