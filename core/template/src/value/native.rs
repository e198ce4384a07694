//! Functions, filters, tests and methods written in Rust: tables of [`Native`], and how they get their arguments.

use super::Value;
use super::run::{Result, Run, error, limit};
use super::text::Str;
use alloc::format;
use alloc::vec::Vec;

/// One of them.
pub(crate) struct Native {
    pub(crate) name: &'static str,
    /// Names of the parameters; those behind `?` may be left out. `*`: any arguments, see [`Call::rest`].
    parameters: &'static str,
    body: fn(&Call<'_>) -> Result,
}

/// Filters of Jinja2 that are not there: they make HTML, draw lots, or lay out text for a terminal.
const MISSING: [&str; 6] = ["pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"];

/// Arguments as a template gives them.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Vec<(Str, Value)>,
}

/// A call, for the function called.
pub(crate) struct Call<'r> {
    pub(crate) run: &'r Run,
    /// what a filter or test is applied to, or a method belongs to
    pub(crate) this: Value,
    /// in order of the parameters
    arguments: Vec<Option<Value>>,
    /// all arguments of a function with parameters `*`
    pub(crate) rest: Arguments,
}

/// An entry of a table.
pub(crate) const fn native(name: &'static str, parameters: &'static str, body: fn(&Call<'_>) -> Result) -> Native {
    Native { name, parameters, body }
}

/// The entry of a name.
pub(crate) fn find(table: &'static [Native], name: &str) -> Option<&'static Native> {
    table.iter().find(|native| native.name == name)
}

/// Applies a filter or test to a value.
pub(crate) fn apply(run: &Run, table: &'static [Native], name: &str, value: Value, arguments: Arguments) -> Result {
    match find(table, name) {
        Some(native) => native.call(run, value, arguments),
        None if MISSING.contains(&name) => error(format!("Jinja2's filter {name} is not there")),
        None => error(format!("there is no filter or test named '{name:.40}'")),
    }
}

impl Native {
    /// Calls it. Text among its operands is paid for here, what it makes where it is made.
    pub(crate) fn call(&self, run: &Run, this: Value, given: Arguments) -> Result {
        for value in given.positional.iter().chain(given.named.iter().map(|(_, value)| value)).chain([&this]) {
            run.read(value.as_str().map_or(0, str::len))?;
        }
        let call = if self.parameters == "*" {
            Call { run, this, arguments: Vec::new(), rest: given }
        } else {
            Call { run, this, arguments: self.bind(given)?, rest: Arguments::default() }
        };
        run.nested(|| (self.body)(&call))
    }

    fn bind(&self, given: Arguments) -> Result<Vec<Option<Value>>> {
        let parameters = || self.parameters.split_ascii_whitespace().enumerate();
        let mut arguments: Vec<Option<Value>> = given.positional.into_iter().map(Some).collect();
        let count = parameters().count();
        if arguments.len() > count {
            return error(format!("{}: {} arguments, and at most {count} expected", self.name, arguments.len()));
        }
        arguments.resize(count, None);
        for (name, value) in given.named {
            match parameters().find(|(_, parameter)| parameter.trim_start_matches('?') == &*name) {
                Some((index, _)) if arguments[index].is_none() => arguments[index] = Some(value),
                Some(_) => return error(format!("{}: the argument '{}' is given twice", self.name, &*name)),
                None => return error(format!("{}: no argument is named '{}'", self.name, &*name)),
            }
        }
        match parameters().find(|(index, name)| !name.starts_with('?') && arguments[*index].is_none()) {
            Some((_, name)) => error(format!("{}: the argument '{name}' is missing", self.name)),
            None => Ok(arguments),
        }
    }
}

impl Call<'_> {
    /// An argument; `None` if it is not given.
    pub(crate) fn given(&self, index: usize) -> Option<&Value> {
        self.arguments.get(index)?.as_ref()
    }

    /// An argument; `None` if it is not given, or none.
    pub(crate) fn argument(&self, index: usize) -> Option<&Value> {
        self.given(index).filter(|value| !matches!(value, Value::None))
    }

    /// An argument's text.
    pub(crate) fn str(&self, index: usize) -> Result<Option<Str>> {
        match self.argument(index) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text.clone())),
            Some(other) => other.wrong("a string was expected, not {}"),
        }
    }

    /// An integer argument.
    pub(crate) fn int(&self, index: usize) -> Result<Option<i64>> {
        match self.argument(index) {
            None => Ok(None),
            Some(value) => value.int().map_or_else(|| value.wrong("an integer was expected, not {}"), |n| Ok(Some(n))),
        }
    }

    /// Whether an argument is true; `false` if it is not given.
    pub(crate) fn truth(&self, index: usize) -> bool {
        self.given(index).is_some_and(Value::truth)
    }

    /// What iterating over `this` gives, paid for.
    pub(crate) fn items(&self) -> Result<Vec<Value>> {
        let items = self.run.to_vec(&self.this)?;
        self.run.read(16 * items.len())?;
        Ok(items)
    }
}

impl Run {
    /// Natives call natives (`map('map', …)`), but not without end.
    fn nested(&self, body: impl FnOnce() -> Result) -> Result {
        let depth = self.natives.get();
        if depth > 20 {
            return limit("recursion");
        }
        self.natives.set(depth + 1);
        let result = body();
        self.natives.set(depth);
        result
    }
}
