//! The syntax tree of a template.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

pub(super) type Body = Vec<Statement>;

pub(super) struct Statement {
    pub(super) line: u32,
    pub(super) node: Node,
}

pub(super) enum Node {
    Text(Rc<str>),
    Print(Expr),
    /// conditions and what they guard; `else` has the condition true
    If(Vec<(Expr, Body)>),
    For(Rc<For>),
    Set(Target, Expr),
    /// `{% set x | filters %}…{% endset %}`
    SetBlock(Target, Vec<Postfix>, Body),
    Macro(Rc<Macro>),
    /// `{% call(parameters) f(…) %}…{% endcall %}`: the body is the macro `caller`
    Call(Rc<Macro>, Expr),
    FilterBlock(Vec<Postfix>, Body),
    /// a body with names of its own
    With(Vec<(Target, Expr)>, Body),
    Break,
    Continue,
    /// a tag that would read other files
    Forbidden(Rc<str>),
}

pub(super) struct For {
    pub(super) target: Target,
    pub(super) items: Expr,
    pub(super) filter: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Body,
    pub(super) otherwise: Body,
}

pub(super) struct Macro {
    pub(super) name: Rc<str>,
    pub(super) parameters: Vec<(Rc<str>, Option<Expr>)>,
    pub(super) body: Body,
    /// the body reads `varargs`, `kwargs`: more arguments than parameters are welcome
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
}

/// What can be assigned to.
pub(super) enum Target {
    Name(Rc<str>),
    /// an attribute of a namespace
    Attribute(Rc<str>, Rc<str>),
    Tuple(Vec<Target>),
}

/// Operators of one precedence are one node, however many: only parentheses make trees deep.
pub(super) enum Expr {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    Name(Rc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Not(Box<Expr>),
    Chain(Box<Expr>, Vec<(Operator, Expr)>),
    Postfix(Box<Expr>, Vec<Postfix>),
    /// `then if condition else otherwise`
    If(Box<[Expr; 2]>, Option<Box<Expr>>),
}

/// What follows a value.
pub(super) enum Postfix {
    Attribute(Rc<str>),
    Item(Expr),
    /// start, stop, step
    Slice(Box<[Option<Expr>; 3]>),
    Call(Vec<Argument>),
    Filter(Rc<str>, Vec<Argument>),
    Test {
        name: Rc<str>,
        arguments: Vec<Argument>,
        negated: bool,
    },
}

pub(super) enum Argument {
    Positional(Expr),
    Named(Rc<str>, Expr),
    /// `*list`
    Spread(Expr),
    /// `**dict`
    SpreadNamed(Expr),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Add,
    Subtract,
    Concat,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

impl Operator {
    /// Whether it compares: `a < b < c` is `a < b and b < c`.
    pub(super) fn compares(self) -> bool {
        use Operator::{Equal, Greater, GreaterEqual, In, Less, LessEqual, NotEqual, NotIn};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual | In | NotIn)
    }
}
