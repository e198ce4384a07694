//! What one rendering may use, and what changes during it.
//!
//! Every step and every operation whose cost grows with its operands is paid for here, so a template from a stranger ends
//! in bounded time and memory, whatever it does.

use super::text::{Str, Traced, characters};
use super::{Dict, Items, List, Number, Range, Value};
use crate::DateTime;
use crate::ast::For;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::cmp::Ordering;

/// Nodes of the syntax tree one rendering may visit. A message takes some fifty.
const MAX_STEPS: u64 = 2_000_000;
/// Literal text counts as steps too, so that loops emit at most 64 MB of it.
const LITERAL_BYTES_PER_STEP: usize = 32;
/// Deepest nesting of lists and dictionaries a template may handle.
const MAX_DEPTH: usize = 100;
/// As Jinja2's sandbox.
const MAX_RANGE: i64 = 100_000;

/// Bytes that a value costs besides its text. These are sizes on machines of 64 bits, on all machines: limits are the same on each.
pub(crate) const VALUE: usize = 32;
/// A value with a name,
pub(crate) const NAMED: usize = 56;
/// and an object.
const OBJECT: usize = 80;

const _: () =
    assert!(size_of::<Value>() <= VALUE && size_of::<(Str, Value)>() <= NAMED && size_of::<Object>() <= OBJECT);

/// A number of things: none if it is below zero. What no memory holds is as much on machines of 32 bits as on those of 64.
pub(crate) fn count(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

/// Why a rendering ends early.
pub(crate) enum Fail {
    /// A limit is exceeded: which.
    Limit(&'static str),
    /// `raise_exception`
    Refused(String),
    Error(String),
}

/// Errors are boxed: results stay as small as values.
pub(crate) type Result<T = Value> = core::result::Result<T, Box<Fail>>;

/// An error with a message.
pub(crate) fn error<T>(message: impl Into<String>) -> Result<T> {
    Err(failed(message.into()))
}

#[cold]
#[inline(never)]
fn failed(message: String) -> Box<Fail> {
    Box::new(Fail::Error(message))
}

/// The error that a limit is exceeded.
#[cold]
#[inline(never)]
pub(crate) fn limit<T>(what: &'static str) -> Result<T> {
    Err(Box::new(Fail::Limit(what)))
}

/// All values, or the first error. Not generic, unlike `collect`: one copy of it serves all.
pub(crate) fn collect(values: &mut dyn Iterator<Item = Result>) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for value in values {
        all.push(value?);
    }
    Ok(all)
}

/// The state of one rendering that every operation shares.
pub(crate) struct Run {
    steps: Cell<u64>,
    /// bytes that operations may still read
    read: Cell<u64>,
    /// bytes that operations may still make
    make: Cell<u64>,
    /// natives that run now, one called by the other
    pub(crate) natives: Cell<usize>,
    /// Never shrinks during a rendering; a [`Value::Object`] is an index into it.
    pub(crate) objects: RefCell<Vec<Object>>,
    pub(crate) now: Option<DateTime>,
    /// whether a filter has this name
    pub(crate) is_filter: fn(&str) -> bool,
}

/// What can change.
pub(crate) enum Object {
    Namespace(Vec<(Str, Value)>),
    Loop(Loop),
    /// `cycler`: its items, and which comes next
    Cycler(Rc<List>, usize),
    /// `joiner`: what it gives, but the first time
    Joiner(Str, bool),
}

#[derive(Clone)]
pub(crate) struct Loop {
    pub(crate) items: Items,
    pub(crate) index: usize,
    /// 0 for a loop that is not called by itself
    pub(crate) depth: usize,
    /// what `loop.changed` was asked last
    pub(crate) changed: Option<Value>,
    /// of a loop that may call itself: the loop, and how many scopes it sees
    pub(crate) recursive: Option<(Rc<For>, usize)>,
}

impl Run {
    /// For an input of `bytes`.
    pub(crate) fn new(bytes: u64, now: Option<DateTime>, is_filter: fn(&str) -> bool) -> Run {
        Run {
            steps: Cell::new(MAX_STEPS),
            read: Cell::new((256 << 20) + 256 * bytes),
            make: Cell::new((16 << 20) + 16 * bytes),
            natives: Cell::new(0),
            objects: RefCell::new(Vec::new()),
            now,
            is_filter,
        }
    }

    /// Pays for one node of the tree.
    pub(crate) fn step(&self) -> Result<()> {
        spend(&self.steps, 1, "steps")
    }

    /// Pays for literal text.
    pub(crate) fn literal(&self, bytes: usize) -> Result<()> {
        spend(&self.steps, bytes / LITERAL_BYTES_PER_STEP + 1, "steps")
    }

    /// Pays for bytes looked at.
    pub(crate) fn read(&self, bytes: usize) -> Result<()> {
        spend(&self.read, bytes, "bytes read")
    }

    /// Pays for bytes about to be made.
    pub(crate) fn make(&self, bytes: usize) -> Result<()> {
        spend(&self.make, bytes, "bytes made")
    }

    /// A part of `of`, or else something made of it.
    pub(crate) fn text(&self, text: &str, of: &Str) -> Result {
        self.make(text.len() + VALUE)?;
        let text = Str::of(text, of);
        self.make(text.turn_bytes())?;
        Ok(Value::Str(text))
    }

    /// Text of the template's own, or of the program's.
    pub(crate) fn own(&self, text: &str) -> Result {
        self.make(text.len() + VALUE)?;
        Ok(Value::Str(Str::own(text)))
    }

    /// Text that was put together, and paid for part by part.
    pub(crate) fn finished(&self, text: Traced) -> Result {
        self.make(VALUE)?;
        Ok(Value::Str(text.into()))
    }

    /// Text of the request.
    pub(crate) fn given(&self, text: &str) -> Result {
        self.make(text.len() + VALUE)?;
        Ok(Value::Str(Str::given(text)))
    }

    pub(crate) fn list(&self, items: Vec<Value>) -> Result {
        Ok(Value::List(self.items_of(items, &[])?))
    }

    pub(crate) fn tuple(&self, items: Vec<Value>) -> Result {
        self.named_tuple(items, &[])
    }

    /// A tuple whose items have names.
    pub(crate) fn named_tuple(&self, items: Vec<Value>, names: &'static [&'static str]) -> Result {
        Ok(Value::Tuple(self.items_of(items, names)?))
    }

    fn items_of(&self, items: Vec<Value>, names: &'static [&'static str]) -> Result<Rc<List>> {
        self.make((items.len() + 1) * VALUE)?;
        let depth = nested(items.iter())?;
        Ok(Rc::new(List { items, depth, names }))
    }

    /// A dictionary of pairs with keys that differ: see [`insert`](Self::insert).
    pub(crate) fn dict(&self, pairs: Vec<(Value, Value)>) -> Result {
        self.make((2 * pairs.len() + 1) * VALUE)?;
        let depth = nested(pairs.iter().flat_map(|(key, value)| [key, value]))?;
        Ok(Value::Dict(Rc::new(Dict { pairs, depth })))
    }

    /// Adds a pair, or replaces the value of its key.
    pub(crate) fn insert(&self, pairs: &mut Vec<(Value, Value)>, key: Value, value: Value) -> Result<()> {
        match self.position(pairs, &key)? {
            Some(found) => pairs[found].1 = value,
            None => pairs.push((key, value)),
        }
        Ok(())
    }

    /// The value of a key.
    pub(crate) fn look_up(&self, dict: &Dict, key: &Value) -> Result<Option<Value>> {
        Ok(self.position(&dict.pairs, key)?.map(|found| dict.pairs[found].1.clone()))
    }

    fn position(&self, pairs: &[(Value, Value)], key: &Value) -> Result<Option<usize>> {
        if matches!(key, Value::List(_) | Value::Dict(_)) {
            return key.wrong("unhashable type: {}");
        }
        for (index, (other, _)) in pairs.iter().enumerate() {
            if self.equal(other, key)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// `range(start, stop, step)`
    pub(crate) fn range(&self, start: i64, stop: i64, step: i64) -> Result {
        let what = "the length of a range";
        if step == 0 {
            return error("range() arg 3 must not be zero");
        }
        // Rounded up: how many steps fit between start and stop.
        let steps = stop.checked_sub(start).and_then(|gap| gap.checked_sub(step.signum())?.checked_div(step));
        let Some(steps) = steps.and_then(|steps| steps.checked_add(1)) else { return limit(what) };
        let forward = if step > 0 { start < stop } else { start > stop };
        let len = if forward { steps } else { 0 };
        if len > MAX_RANGE {
            return limit(what);
        }
        Ok(Value::Range(Rc::new(Range { start, stop, step, len: len as usize })))
    }

    pub(crate) fn object(&self, object: Object) -> Result<usize> {
        self.make(OBJECT)?;
        let mut objects = self.objects.borrow_mut();
        objects.push(object);
        Ok(objects.len() - 1)
    }

    /// What iterating over a value gives.
    pub(crate) fn items(&self, value: &Value) -> Result<Items> {
        let items = match value {
            Value::List(list) | Value::Tuple(list) => return Ok(Items::Many(Rc::clone(list))),
            Value::Range(range) => return Ok(Items::Range(Rc::clone(range))),
            Value::Dict(dict) => dict.pairs.iter().map(|(key, _)| key.clone()).collect(),
            Value::Undefined(_) => Vec::new(),
            Value::Str(text) => {
                self.make(text.len() * VALUE)?;
                characters(text).map(|c| Value::Str(Str::of(c, text))).collect()
            }
            other => return other.wrong("{} object is not iterable"),
        };
        self.items_of(items, &[]).map(Items::Many)
    }

    /// The items as a list of their own.
    pub(crate) fn to_vec(&self, value: &Value) -> Result<Vec<Value>> {
        Ok(match self.items(value)? {
            Items::Many(list) => list.items.clone(),
            Items::Range(range) => (0..range.len).filter_map(|at| range.get(at)).map(Value::Int).collect(),
        })
    }

    /// `len(value)`, in characters for text.
    pub(crate) fn len(&self, value: &Value) -> Result<usize> {
        Ok(match value {
            Value::Str(text) => {
                self.read(text.len())?;
                text.chars().count()
            }
            Value::Dict(dict) => dict.pairs.len(),
            Value::List(list) | Value::Tuple(list) => list.items.len(),
            Value::Range(range) => range.len,
            Value::Undefined(_) => 0,
            other => return other.wrong("object of type {} has no len()"),
        })
    }

    /// `a == b`
    pub(crate) fn equal(&self, a: &Value, b: &Value) -> Result<bool> {
        self.read(VALUE / 2)?;
        Ok(match (a, b) {
            (Value::Str(a), Value::Str(b)) => {
                self.read(if a.len() == b.len() { a.len() } else { 0 })?;
                a == b
            }
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                a.items.len() == b.items.len() && self.all_equal(a.items.iter().zip(&b.items))?
            }
            (Value::Dict(a), Value::Dict(b)) => {
                if a.pairs.len() != b.pairs.len() {
                    return Ok(false);
                }
                for (key, value) in &a.pairs {
                    match self.look_up(b, key)? {
                        Some(other) if self.equal(value, &other)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Digits(a), Value::Digits(b)) => a == b,
            (Value::Range(a), Value::Range(b)) => (a.len, a.get(0), a.get(1)) == (b.len, b.get(0), b.get(1)),
            (Value::Object(a), Value::Object(b)) => a == b,
            (Value::Macro(a, _), Value::Macro(b, _)) => Rc::ptr_eq(a, b),
            (Value::Function(a), Value::Function(b)) => core::ptr::eq(*a, *b),
            _ => match (a.number(), b.number()) {
                (Some(a), Some(b)) => self.compare_numbers(a, b) == Some(Ordering::Equal),
                _ => false,
            },
        })
    }

    fn all_equal<'v>(&self, mut pairs: impl Iterator<Item = (&'v Value, &'v Value)>) -> Result<bool> {
        pairs.try_fold(true, |equal, (a, b)| Ok(equal && self.equal(a, b)?))
    }

    /// How `a` and `b` are ordered; `None` if one is not a number (NaN).
    pub(crate) fn compare(&self, a: &Value, b: &Value) -> Result<Option<Ordering>> {
        self.read(VALUE / 2)?;
        match (a, b) {
            (Value::Str(a), Value::Str(b)) => {
                self.read(a.len().min(b.len()))?;
                Ok(Some(str::cmp(a, b)))
            }
            (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
                for (a, b) in x.items.iter().zip(&y.items) {
                    if !self.equal(a, b)? {
                        return self.compare(a, b);
                    }
                }
                Ok(Some(x.items.len().cmp(&y.items.len())))
            }
            _ => match (a.defined()?.number(), b.defined()?.number()) {
                (Some(a), Some(b)) => Ok(self.compare_numbers(a, b)),
                _ => error(format!("'{}' and '{}' have no order", a.type_name(), b.type_name())),
            },
        }
    }

    fn compare_numbers(&self, a: Number, b: Number) -> Option<Ordering> {
        match (a, b) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            _ => a.to_f64().partial_cmp(&b.to_f64()),
        }
    }

    /// `item in container`
    pub(crate) fn contains(&self, container: &Value, item: &Value) -> Result<bool> {
        match container {
            Value::Str(text) => match item {
                Value::Str(item) => {
                    self.read(text.len() + item.len())?;
                    Ok(text.contains(&**item))
                }
                other => other.wrong("'in <string>' requires string as left operand, not {}"),
            },
            Value::Dict(dict) => Ok(self.position(&dict.pairs, item)?.is_some()),
            other => {
                for other in self.items(other)?.iter() {
                    if self.equal(&other, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Sorts pairs by their first, stably, as Python's `sorted`.
    pub(crate) fn sort(&self, mut items: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<(Value, Value)>> {
        // A merge sort, bottom up: it stops at the first pair that has no order, and pays for each comparison.
        let mut width = 1;
        while width < items.len() {
            let mut merged = Vec::with_capacity(items.len());
            for sorted in items.chunks(2 * width) {
                let (mut a, mut b) = sorted.split_at(width.min(sorted.len()));
                while let ([first, a_rest @ ..], [second, b_rest @ ..]) = (a, b) {
                    let order = match (&second.0, &first.0) {
                        (Value::Undefined(_), Value::Undefined(_)) => None,
                        (second, first) => self.compare(second, first)?,
                    };
                    if order == Some(if reverse { Ordering::Greater } else { Ordering::Less }) {
                        merged.push(second.clone());
                        b = b_rest;
                    } else {
                        merged.push(first.clone());
                        a = a_rest;
                    }
                }
                merged.extend_from_slice(a);
                merged.extend_from_slice(b);
            }
            items = merged;
            width *= 2;
        }
        Ok(items)
    }
}

#[inline(never)]
fn spend(left: &Cell<u64>, amount: usize, what: &'static str) -> Result<()> {
    match left.get().checked_sub(amount as u64) {
        Some(rest) => {
            left.set(rest);
            Ok(())
        }
        None => limit(what),
    }
}

/// The depth of a container of these.
fn nested<'v>(mut items: impl Iterator<Item = &'v Value>) -> Result<usize> {
    let depth = items.by_ref().map(Value::depth).max().unwrap_or(0) + 1;
    if depth > MAX_DEPTH { limit("nesting") } else { Ok(depth) }
}
