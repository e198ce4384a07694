//! Chat templates: a model's own Jinja program that turns messages into its prompt format.
//!
//! ```text
//!   source ──Template::new──► Template ──render(messages, options)──► prompt
//! ```
//!
//! ```
//! use picolm_template::{Message, RenderOptions, Template};
//!
//! let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{{ eos_token }}{% endfor %}";
//! let template = Template::new(source, vec![("eos_token", "</s>".into())])?;
//! assert_eq!(template.render(&[Message::new("user", " Hi ")], &RenderOptions::default())?, "<user>Hi</s>");
//! # Ok::<_, picolm_template::ChatError>(())
//! ```
//!
//! Templates come from the model file and are programs from strangers, so they run in an interpreter that has nothing but
//! these values: no files, no clock, no other templates; and every operation pays from the budget of the rendering (`run`).
//!
//! ```text
//!   source ──lexer──► tokens ──parser──► ast ──render──► text
//!                                               │
//!               operators, methods, filters, checks, globals   (on values, paid through run)
//! ```
//!
//! The language is Jinja2's, in the dialect of Hugging Face's `apply_chat_template`: `trim_blocks` and `lstrip_blocks` are
//! on, loops have `break` and `continue`, nothing is escaped (<https://jinja.palletsprojects.com/en/stable/templates/>,
//! <https://huggingface.co/docs/transformers/chat_templating>). It differs where Python is larger than prompts need:
//! integers have 64 bits, powers whole exponents (all else is an error); what Jinja2 makes a generator is a list; and `safe` gives plain
//! text, which Jinja2 would escape what is added to.
//!
//! Errors, by name, are what Jinja2 has and this has not: the filters `random` (a prompt is one of its request alone), `striptags`, `urlize`
//! and `xmlattr` (they are for pages), `pprint` and `wordwrap` (for terminals); the function `lipsum`; scientific formats (`%e`, `%g`);
//! `encode`, `format_map`, `isidentifier`, `maketrans` and `translate` of strings; and everything that reads other templates.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod ast;
mod checks;
mod decimal;
mod dialect;
mod error;
mod filters;
mod globals;
mod json;
mod lexer;
mod message;
mod methods;
mod operators;
mod parser;
mod printf;
mod python;
mod render;
mod strftime;
mod template;
mod tojson;
mod value;

pub use dialect::Dialect;
pub use error::ChatError;
pub use json::{Json, JsonError};
pub use message::{Message, MessageError};
pub use strftime::DateTime;
pub use template::{RenderOptions, Template};
pub use value::text::Traced;
