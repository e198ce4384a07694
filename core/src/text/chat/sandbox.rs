//! Compiles and runs a template, with every operation of unbounded cost replaced by one that pays for it.
//!
//! minijinja bounds the number of instructions, recursion, ranges and the depth of the syntax; what it leaves open is closed
//! here. Its compiled instructions `+ * ~ == in [:] [..] {..}` become calls of functions in [`operators`] (their names
//! are no identifiers, so that a template can neither call nor replace them). Filters, tests and methods are those of
//! the tables below, each behind [`Budget::guard`]. Literal text is the one thing that is emitted unpaid: its longest piece
//! sets how many steps there are.

use super::budget::{Budget, limit, over};
use super::python;
use super::{ChatError, DateTime};
use minijinja::machinery::{self, CodeGenerator, Instruction, Instructions, Token};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Tuple, Value, ValueOrKwargs, from_args};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, filters, functions, tests};
use minijinja_contrib::pycompat;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::vec::Vec;

/// Tokens in one `{{ … }}` or `{% … %}`, and `elif`s: both nest the syntax tree without the parser counting.
const MAX_TAG_TOKENS: usize = 1000;
const MAX_ELIFS: usize = 200;
/// Instructions of one rendering. A message takes some fifty.
const MAX_STEPS: u64 = 2_000_000;
/// Bytes of literal text that loops can emit; each turn takes three steps.
const MAX_LITERAL_BYTES: u64 = 64 << 20;
/// Nested macro calls cost ten each.
const MAX_RECURSION: usize = 200;

/// The source as it is compiled. Refuses trees too deep for the compiler's stack, makes the tags of Hugging Face's
/// generation tracker plain blocks, and keeps constant products from being computed at compile time.
pub(super) fn prepare(source: &str) -> Result<String, ChatError> {
    let (mut out, mut copied) = (String::new(), 0);
    let (mut tokens, mut elifs, mut first) = (0, 0, false);
    for token in machinery::tokenize(source, false, syntax()) {
        // The parser finds the same error and knows the line.
        let (token, span) = token.map_err(|e| check(source).err().unwrap_or_else(|| failure(&e, true)))?;
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        tokens = if matches!(token, Token::BlockStart | Token::VariableStart) { 0 } else { tokens + 1 };
        elifs += usize::from(first && matches!(token, Token::Ident("elif")));
        if tokens > MAX_TAG_TOKENS {
            return Err(ChatError::Size { what: "a tag", found: tokens, max: MAX_TAG_TOKENS });
        }
        if elifs > MAX_ELIFS {
            return Err(ChatError::Size { what: "a number of elif tags", found: elifs, max: MAX_ELIFS });
        }
        let replacement = match token {
            Token::Ident("generation") if first => Some("if true"),
            Token::Ident("endgeneration") if first => Some("endif"),
            Token::Mul => Some("*__one*"),
            _ => None,
        };
        if let Some(replacement) = replacement {
            out.push_str(source.get(copied..start).unwrap_or_default());
            out.push_str(replacement);
            copied = end;
        }
        first = matches!(token, Token::BlockStart);
    }
    out.push_str(source.get(copied..).unwrap_or_default());
    Ok(out)
}

/// Compiles, for the errors.
pub(super) fn check(source: &str) -> Result<(), ChatError> {
    compile(source).map(|_| ())
}

/// Renders a prepared source.
pub(super) fn render(source: &str, variables: Vec<(&str, Value)>, now: Option<DateTime>) -> Result<String, ChatError> {
    let (instructions, blocks) = compile(source)?;
    let longest = [&instructions].into_iter().chain(blocks.values()).map(longest_literal).max().unwrap_or(1);
    let root = Value::from_pairs(variables);
    let size = input_bytes(&root);
    let budget = Budget::new(size);
    let refusal = Arc::new(Mutex::new(None));
    let mut env = environment(&budget, now, &refusal);
    env.set_fuel(Some(MAX_STEPS.min(3 * MAX_LITERAL_BYTES / longest)));
    env.set_recursion_limit(MAX_RECURSION);

    let mut text = String::new();
    let result = {
        let mut out = machinery::make_string_output(&mut text);
        machinery::eval(&env, &instructions, root, &blocks, &mut out, AutoEscape::None).map(|_| ())
    };
    let max = (4 << 20) + 4 * size;
    match result {
        Ok(()) if text.len() as u64 <= max => Ok(text),
        Ok(()) => Err(failure(&over("output"), false)),
        Err(error) => {
            let refused = refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(refused.map_or_else(|| failure(&error, false), ChatError::Refused))
        }
    }
}

type Compiled<'s> = (Instructions<'s>, BTreeMap<&'s str, Instructions<'s>>);

fn compile(source: &str) -> Result<Compiled<'_>, ChatError> {
    let name = "chat_template";
    let tree = machinery::parse(source, name, syntax()).map_err(|error| failure(&error, true))?;
    let mut generator = CodeGenerator::new(name, source);
    generator.compile_stmt(&tree);
    let (mut instructions, mut blocks) = generator.finish();
    blocks.values_mut().chain([&mut instructions]).for_each(replace_operators);
    Ok((instructions, blocks))
}

fn replace_operators(instructions: &mut Instructions<'_>) {
    for index in 0.. {
        let Some(instruction) = instructions.get_mut(index) else { break };
        let (name, arguments) = match *instruction {
            Instruction::Add => ("+", Some(2)),
            Instruction::Mul => ("*", Some(2)),
            Instruction::StringConcat => ("~", Some(2)),
            Instruction::Eq => ("==", Some(2)),
            Instruction::Ne => ("!=", Some(2)),
            Instruction::Lt => ("<", Some(2)),
            Instruction::Lte => ("<=", Some(2)),
            Instruction::Gt => (">", Some(2)),
            Instruction::Gte => (">=", Some(2)),
            Instruction::In => ("in", Some(2)),
            Instruction::Slice => ("[:]", Some(4)),
            // A tag has at most MAX_TAG_TOKENS items.
            Instruction::BuildList(n) => ("[]", n.map(|n| n as u16)),
            Instruction::BuildTuple(n) => ("()", n.map(|n| n as u16)),
            Instruction::BuildMap(n) => ("{}", Some(2 * n as u16)),
            _ => continue,
        };
        *instruction = Instruction::CallFunction(name, arguments);
    }
}

fn longest_literal(instructions: &Instructions<'_>) -> u64 {
    let lengths = (0..).map_while(|index| instructions.get(index)).map(|instruction| match instruction {
        Instruction::EmitRaw(text) => text.len() as u64,
        _ => 0,
    });
    lengths.max().unwrap_or(0).max(1)
}

fn syntax() -> SyntaxConfig {
    // As Hugging Face's environment.
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

fn environment(budget: &Budget, now: Option<DateTime>, refusal: &Arc<Mutex<Option<String>>>) -> Environment<'static> {
    let mut env = Environment::empty();
    operators(&mut env, budget);
    filters_and_tests(&mut env, budget);
    let b = budget.clone();
    env.set_formatter(move |out, _, value| {
        b.read(value)?;
        Ok(out.write_str(&python::display(value, &b)?)?)
    });
    let b = budget.clone();
    env.set_unknown_method_callback(move |state, value, method, args| {
        prepay(&b, method, value, args)?;
        args.iter().chain([value]).try_for_each(|arg| b.read(arg))?;
        let result = pycompat::unknown_method_callback(state, value, method, args)?;
        b.made(&result)?;
        Ok(result)
    });
    let refusal = Arc::clone(refusal);
    env.add_function("raise_exception", move |message: String| -> Result<Value, Error> {
        *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.clone());
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    if let Some(now) = now {
        env.add_function("strftime_now", move |format: String| now.strftime(&format));
    }
    env
}

/// Filters and methods whose result can be much larger than their arguments pay before they run.
fn prepay(budget: &Budget, name: &str, value: &Value, args: &[Value]) -> Result<(), Error> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_string();
    match name {
        "replace" => {
            let (old, new) = (text(args.first()), text(args.get(1)));
            budget.make(text(Some(value)).matches(&old).count() as u64 * new.len() as u64)
        }
        // The method is called on the separator, the filter on the list.
        "join" => {
            let separator = [Some(value), args.first()].into_iter().map(|v| text(v).len()).max().unwrap_or(0);
            for list in [Some(value), args.first()].into_iter().flatten().filter(|v| v.as_str().is_none()) {
                budget.made(list)?;
                budget.make(list.len().unwrap_or(0) as u64 * separator as u64)?;
            }
            Ok(())
        }
        "indent" => {
            let named = args.last().and_then(|kwargs| kwargs.get_attr("width").ok()?.as_usize());
            let width = args.first().and_then(Value::as_usize).or(named).unwrap_or(4) as u64;
            budget.make(width.saturating_mul(text(Some(value)).lines().count() as u64 + 1))
        }
        "format" => Err(Error::new(ErrorKind::UnknownMethod, "format is not supported")),
        _ => Ok(()),
    }
}

fn operators(env: &mut Environment<'static>, budget: &Budget) {
    let mut operator = |name: &'static str, run: fn(&Budget, &[Value]) -> Result<Value, Error>| {
        let b = budget.clone();
        env.add_function(name, budget.guard(move |_: &mut State, args: &[Value]| run(&b, args)));
    };
    operator("+", |budget, args| match (args[0].as_str(), args[1].as_str()) {
        (Some(a), Some(b)) => {
            budget.make((a.len() + b.len()) as u64)?;
            Ok(Value::from([a, b].concat()))
        }
        _ => evaluate("a + b", args),
    });
    operator("*", |budget, args| {
        for (value, times) in [(&args[0], &args[1]), (&args[1], &args[0])] {
            if let (None, Some(n)) = (value.as_i64(), times.as_usize())
                && !value.is_number()
            {
                let each = value.as_str().map_or(32 * value.len().unwrap_or(0), str::len);
                budget.make((each as u64).saturating_mul(n as u64))?;
            }
        }
        evaluate("a * b", args)
    });
    operator("~", |budget, args| {
        let parts = [python::display(&args[0], budget)?, python::display(&args[1], budget)?];
        Ok(Value::from(parts.concat()))
    });
    operator("==", |_, args| Ok(Value::from(args[0] == args[1])));
    operator("!=", |_, args| Ok(Value::from(args[0] != args[1])));
    operator("<", |_, args| Ok(Value::from(args[0] < args[1])));
    operator("<=", |_, args| Ok(Value::from(args[0] <= args[1])));
    operator(">", |_, args| Ok(Value::from(args[0] > args[1])));
    operator(">=", |_, args| Ok(Value::from(args[0] >= args[1])));
    operator("in", |_, args| evaluate("a in b", args));
    operator("[:]", |_, args| evaluate("a[b:c:d]", args));
    operator("[]", |_, args| Ok(Value::from(args.to_vec())));
    operator("()", |_, args| Ok(Value::from(Tuple::from(args.to_vec()))));
    operator("{}", |_, args| {
        Ok(Value::from_pairs(args.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()))))
    });
    operator("dict", |_, args| {
        let (value, kwargs): (Option<Value>, Kwargs) = from_args(args)?;
        functions::dict(value, kwargs)
    });
    operator("namespace", |_, args| {
        let (defaults,) = from_args(args)?;
        functions::namespace(defaults)
    });
    env.add_global("__one", Value::from(1));
    // Lazy, and at most 100,000 long.
    env.add_function("range", functions::range);
}

/// What minijinja makes of an expression of the variables a, b, c, d.
fn evaluate(expression: &'static str, args: &[Value]) -> Result<Value, Error> {
    static ENV: LazyLock<Environment<'static>> = LazyLock::new(Environment::new);
    let names = ["a", "b", "c", "d"];
    ENV.compile_expression(expression)?.eval(Value::from_pairs(names.into_iter().zip(args.iter().cloned())))
}

fn filters_and_tests(env: &mut Environment<'static>, budget: &Budget) {
    macro_rules! filters {
        ($($name:literal => $function:path),* $(,)?) => {$({
            let (b, function) = (budget.clone(), Value::from_function($function));
            env.add_filter($name, budget.guard(move |state: &mut State, args: &[Value]| {
                prepay(&b, $name, args.first().unwrap_or(&Value::UNDEFINED), args.get(1..).unwrap_or_default())?;
                function.call(state, args)
            }));
        })*};
    }
    filters! {
        "abs" => filters::abs, "attr" => filters::attr, "bool" => filters::bool, "capitalize" => filters::capitalize,
        "count" => filters::length, "d" => filters::default, "default" => filters::default,
        "dictsort" => filters::dictsort, "first" => filters::first, "float" => filters::float,
        "indent" => filters::indent, "int" => filters::int, "items" => filters::items, "join" => filters::join,
        "last" => filters::last, "length" => filters::length, "list" => filters::list, "lower" => filters::lower,
        "map" => filters::map, "max" => filters::max, "min" => filters::min, "reject" => filters::reject,
        "rejectattr" => filters::rejectattr, "replace" => filters::replace, "reverse" => filters::reverse,
        "round" => filters::round, "select" => filters::select, "selectattr" => filters::selectattr,
        "sort" => filters::sort, "split" => filters::split, "title" => filters::title, "trim" => filters::trim,
        "unique" => filters::unique, "upper" => filters::upper,
    }
    let b = budget.clone();
    env.add_filter("string", move |value: &Value| Ok(Value::from(python::display(value, &b)?.into_owned())));
    env.add_filter("safe", |value: Value| value);
    let b = budget.clone();
    env.add_filter(
        "tojson",
        budget.guard(move |_: &mut State, args: &[Value]| {
            let (value, ascii, kwargs): (&Value, Option<bool>, Kwargs) = from_args(args)?;
            python::tojson(value, ascii, &kwargs, &b)
        }),
    );
    macro_rules! tests {
        ($($name:literal => $function:path),* $(,)?) => {$({
            let function = Value::from_function($function);
            let guarded = budget.guard(move |state: &mut State, args: &[Value]| function.call(state, args));
            env.add_test($name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
                guarded(state, args).map(|value| value.is_true())
            });
        })*};
    }
    tests! {
        "boolean" => tests::is_boolean, "defined" => tests::is_defined, "divisibleby" => tests::is_divisibleby,
        "eq" => tests::is_eq, "equalto" => tests::is_eq, "==" => tests::is_eq, "even" => tests::is_even,
        "false" => tests::is_false, "float" => tests::is_float, "ge" => tests::is_ge, ">=" => tests::is_ge,
        "gt" => tests::is_gt, ">" => tests::is_gt, "greaterthan" => tests::is_gt, "in" => tests::is_in,
        "integer" => tests::is_integer, "iterable" => python::is_iterable, "le" => tests::is_le, "<=" => tests::is_le,
        "lessthan" => tests::is_lt, "lower" => tests::is_lower, "lt" => tests::is_lt, "<" => tests::is_lt,
        "mapping" => tests::is_mapping, "ne" => tests::is_ne, "!=" => tests::is_ne, "none" => tests::is_none,
        "number" => tests::is_number, "odd" => tests::is_odd, "sameas" => tests::is_sameas,
        "sequence" => tests::is_sequence, "string" => tests::is_string, "true" => tests::is_true,
        "undefined" => tests::is_undefined, "upper" => tests::is_upper,
    }
}

/// Bytes of text in the input; the host made it, so it is as large as it is.
fn input_bytes(value: &Value) -> u64 {
    let inside = |item: Value| input_bytes(&item) + value.get_item(&item).map_or(0, |v| input_bytes(&v));
    match value.as_str() {
        Some(text) => text.len() as u64,
        None => value.try_iter().map_or(0, |items| items.map(inside).sum()),
    }
}

fn failure(error: &Error, syntax: bool) -> ChatError {
    let mut cause = Some(error as &(dyn std::error::Error + 'static));
    let mut chain = core::iter::from_fn(|| {
        let this = cause?;
        cause = this.source();
        Some(this)
    });
    let line = error.line().unwrap_or(0);
    let found = chain.find_map(|e| e.downcast_ref::<Error>().and_then(limit));
    match found {
        Some(what) => ChatError::Limit { line, what },
        None if syntax => ChatError::Syntax { line, message: error.to_string() },
        None => ChatError::Render { line, message: error.to_string() },
    }
}
