//! Calls of tools: how a model's family writes them, and how they are read out of an answer.
//!
//! ```text
//!   template ──Form::of──► Form ─┐
//!   tools ─────Tools::read─► Tools ──┴─► Reader ──push(text)──► text, reasoning, calls
//! ```
//!
//! Nobody says how a model writes a call: its chat template shows it, since it writes the calls of earlier turns as the model wrote them.
//! So the template is asked (`derive`): it renders one call, two, and a plain text, and the differences are the marks. A template that has
//! no calls in it is known by what it says (`known`), and for one that says nothing a call is an object of JSON.
//!
//! ```text
//!   <|tool_calls_begin|> <|call_begin|> name <|sep|> {…} <|call_end|>  <|call_begin|> name <|sep|> {…} <|call_end|> <|tool_calls_end|>
//!   └───── open ───────┘ └─── head ───┘ └─── shape ────┘ └── tail ──┘↑ └─── head ───┘ └─── shape ────┘ └── tail ──┘ └──── close ─────┘
//!                                                                 between
//! ```
//!
//! A call is told once it is whole: its name is one of the tools, its arguments are an object. What only began as a call, or calls what is
//! not there, stays text, so nothing that a model wrote is lost. White space around marks is nobody's: models write it as they like.
//!
//! A model that has begun a call is kept to it (`grammar`): to a tool that is there, and to arguments that fit its schema.

mod call;
mod derive;
mod grammar;
mod harmony;
mod known;
mod literal;
mod marks;
mod reader;
mod scan;
mod tool;

pub(crate) use grammar::Rules;
pub use reader::Reader;
pub use tool::{ToolChoice, Tools};

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use literal::Notation;

/// How a model writes calls of tools, and what it thinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    calls: Calls,
    thinking: Option<Thinking>,
    /// Ids have nine letters and digits, as Mistral's templates ask for; otherwise they begin with `call_`.
    short_ids: bool,
}

/// How calls are written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Calls {
    Marked(Box<Marked>),
    /// Messages with channels and recipients (<https://cookbook.openai.com/articles/openai-harmony>).
    Harmony,
}

/// Calls between marks. A mark is compared without its white space, and may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Marked {
    /// in front of all calls
    open: String,
    /// An answer may also begin with a call, without it.
    bare: bool,
    /// in front of each
    head: String,
    shape: Shape,
    /// behind each
    tail: String,
    /// between two
    between: String,
    /// behind all
    close: String,
}

/// How the name and the arguments of a call are written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// `{"name": "f", "arguments": {…}}`: the fields with the name and the arguments.
    Object { name: String, arguments: String },
    /// `{"f": {…}}`
    Keyed,
    /// `f<|sep|>{…}`: marks between the name and the arguments, with anything (an id, a number) between two of them.
    Named { between: Vec<String>, notation: Notation },
    /// `f><parameter=a>1</parameter>`
    Fields(Fields),
    /// `f(a=1, b="x")`
    Python,
}

/// Arguments that stand between marks one by one, texts as they are, and all else as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    /// behind the name
    after: String,
    /// in front of a key
    key: String,
    /// between a key and its value; what stands between two of them says whether the value is a text: `true` or `false`
    value: Vec<String>,
    /// behind a value
    end: String,
}

/// Marks around what a model thinks before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thinking {
    open: String,
    close: String,
}

impl Default for Shape {
    fn default() -> Self {
        Shape::Object { name: "name".into(), arguments: "arguments".into() }
    }
}

impl Form {
    /// Whether a text is a part of the marks: tokens of structure that are have to be read.
    pub fn has_mark(&self, text: &str, tools: bool) -> bool {
        let has = |mark: &str| !text.is_empty() && mark.contains(text);
        let thinks = self.thinking.as_ref().is_some_and(|thinking| has(&thinking.open) || has(&thinking.close));
        match &self.calls {
            Calls::Harmony => harmony::MARKS.contains(&text),
            Calls::Marked(marked) => thinks || (tools && marked.marks().any(has)),
        }
    }

    /// The same, for answers in which thoughts stay text.
    #[must_use]
    pub fn without_thinking(self) -> Self {
        Form { thinking: None, ..self }
    }

    /// The same, for answers that may be JSON themselves: calls have all their marks, if there are any.
    #[must_use]
    pub(crate) fn in_tags(mut self) -> Self {
        if let Calls::Marked(marked) = &mut self.calls {
            if marked.may_lack_tags() {
                [&mut marked.open, &mut marked.between, &mut marked.close].into_iter().for_each(String::clear);
            }
            marked.bare &= marked.open.is_empty() && marked.head.is_empty();
        }
        self
    }

    /// Whether there is anything to be told apart in an answer without calls.
    pub fn has_thoughts(&self) -> bool {
        self.thinking.is_some() || self.calls == Calls::Harmony
    }

    /// Whether a prompt that ends so has begun the thinking itself.
    pub fn thinks_after(&self, prompt: &str) -> bool {
        self.thinking.as_ref().is_some_and(|thinking| prompt.trim_end().ends_with(&thinking.open))
    }
}

impl Marked {
    /// All marks but empty ones, those within the shape included.
    fn marks(&self) -> impl Iterator<Item = &str> {
        let Marked { open, head, shape, tail, between, close, .. } = self;
        let (inside, quotes): (Vec<&String>, &[&str]) = match shape {
            Shape::Named { between, notation } => (between.iter().collect(), notation.quotes()),
            Shape::Fields(Fields { after, key, value, end }) => {
                ([after, key, end].into_iter().chain(value).collect(), &[])
            }
            Shape::Object { .. } | Shape::Keyed | Shape::Python => (Vec::new(), &[]),
        };
        let marks = [open, head, tail, between, close].into_iter().chain(inside);
        marks.map(String::as_str).chain(quotes.iter().copied()).filter(|mark| !mark.is_empty())
    }

    /// What calls begin with, in a text.
    fn trigger(&self) -> &str {
        let first = if self.open.is_empty() || self.may_lack_tags() { &self.head } else { &self.open };
        marks::first_tag(first)
    }

    /// Whether calls at the beginning of an answer may stand without what is around each: it is a word, which models forget.
    fn may_lack_tags(&self) -> bool {
        self.bare && self.head.contains(char::is_alphabetic)
    }
}
