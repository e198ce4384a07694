//! Chat templates are programs from strangers. Each of these must end in an error, in bounded memory and on a small stack.

mod common;
#[path = "../../tests/kept/mod.rs"]
mod kept;

use picolm_template::{ChatError, Json, Message, RenderOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What a browser gives a WebAssembly module.
const STACK_BYTES: usize = 1 << 20;
/// AddressSanitizer surrounds every variable with guards, which multiplies a frame: `cargo xtask test` says so by this variable.
const GUARDED: &str = "PICOLM_GUARDED_STACK";
/// The most any rendering may hold at once.
const HEAP_BYTES: usize = 256 << 20;

/// The system's allocator, counting.
struct Counting;
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `at` came from `alloc` above with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Renders on a small stack, one at a time, and checks what it took.
fn render(template: &str) -> Result<String, ChatError> {
    render_with(template, RenderOptions::default())
}

fn render_with(template: &str, options: RenderOptions) -> Result<String, ChatError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let template = template.to_string();
    kept::keep("template", template.as_bytes());
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let run = move || {
        let messages = [Message::new("user", "Hi"), Message::new("assistant", "Hello")];
        common::render(&template, &messages, &options)
    };
    let stack = STACK_BYTES * if std::env::var_os(GUARDED).is_some() { 16 } else { 1 };
    let result = std::thread::Builder::new().stack_size(stack).spawn(run).unwrap().join().unwrap();
    let used = PEAK.load(Relaxed) - before;
    assert!(used < HEAP_BYTES, "{used} bytes");
    result
}

#[track_caller]
fn limited(template: &str, expected: &str) {
    match render(template) {
        Err(ChatError::Limit { what, .. }) => assert_eq!(what, expected, "{template:.200}"),
        other => panic!("{template:.200}: {:.200}", format!("{other:?}")),
    }
}

#[track_caller]
fn fails(template: &str) {
    match render(template) {
        Err(ChatError::Render { .. }) => {}
        other => panic!("{template:.200}: {:.200}", format!("{other:?}")),
    }
}

#[test]
fn python_cannot_be_reached() {
    for template in [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__['os'].popen('id').read() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__.__builtins__.open('/etc/passwd').read() }}",
        "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
        "{{ lipsum.__globals__['os'].system('id') }}",
        "{{ raise_exception.__globals__.x }}",
        "{{ (messages | attr('__class__')).__mro__ }}",
    ] {
        fails(template);
    }
}

#[test]
fn fields_of_any_width_are_paid_for() {
    for template in [
        "{{ '%99999999d' | format(1) }}",
        "{{ '{:99999999}'.format(1) }}",
        "{{ '{:>99999999999999999999999}'.format(1) }}",
        "{{ '%*d' % (9223372036854775807, 1) }}",
        "{{ 'a'.ljust(99999999) }}",
        "{{ 'a'.zfill(9223372036854775807) }}",
        "{{ 'a' | center(9223372036854775807) }}",
        "{{ '\t'.expandtabs(99999999) }}",
        "{{ [1] | batch(99999999, 1) }}",
        "{{ [1] | slice(9223372036854775807) }}",
    ] {
        assert!(matches!(render(template), Err(ChatError::Limit { .. })), "{template}: {:?}", render(template));
    }
    // So are digits, of which there are fewer.
    fails("{{ '%.99999999f' % 1 }}");
    fails("{{ '{:.1001f}'.format(1) }}");
    assert!(render("{{ '{:.1000f}'.format(1) }}{{ '%.1000f' % 1e308 }}{{ '%.9d' % 5 }}").is_ok());
}

#[test]
fn files_cannot_be_reached() {
    for tag in ["include '/etc/passwd'", "import '/etc/passwd' as x", "extends '/etc/passwd'", "include ['a', 'b']"] {
        fails(&format!("{{% {tag} %}}"));
    }
}

#[test]
fn ranges_without_end() {
    for range in ["10**9", "10**18", "0, 10**9", "-10**9, 10**9, 3", "10**9, 0, -1"] {
        limited(&format!("{{% for i in range({range}) %}}{{% endfor %}}"), "the length of a range");
    }
}

#[test]
fn nested_loops_share_one_budget() {
    let open = "{% for i in range(1000) %}".repeat(5);
    let close = "{% endfor %}".repeat(5);
    limited(&format!("{open}{close}"), "steps");
    limited(&format!("{open}x{close}"), "steps");
    limited(&format!("{open}{{{{ i }}}}{close}"), "steps");
    limited(
        "{% macro f() %}{% for i in range(1000) %}{% endfor %}{% endmacro %}{% for i in range(9999) %}{{ f() }}{% endfor %}",
        "steps",
    );
}

#[test]
fn one_output_cap_for_all() {
    let text = "x".repeat(100_000);
    limited(&format!("{{% for i in range(99999) %}}{text}{{% endfor %}}"), "output");
    limited(&format!("{{% set y %}}{{% for i in range(99999) %}}{text}{{% endfor %}}{{% endset %}}"), "bytes made");
    limited("{% set x = 'x' * 100000 %}{% for i in range(99999) %}{{ x }}{% endfor %}", "output");
    limited("{% set x = 'x' * 1000000 %}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}", "output");
}

#[test]
fn recursion_without_end() {
    limited("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "recursion");
    limited("{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion");
    limited("{% macro f() %}{{ caller }}{% call f() %}x{% endcall %}{% endmacro %}{{ f() }}", "recursion");
    limited(
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(15) }}{{ f(15) }}{{ f(15) }}{{ f(15) }}{{ f(15) }}",
        "steps",
    );
    let recursive = "{% for x in l recursive %}{{ loop(l) }}{% endfor %}";
    limited(&format!("{{% set l = [1] %}}{recursive}"), "recursion");
    limited("{% set l = [1] %}{% for x in l recursive %}a{{ loop(l) ~ '' }}{% endfor %}", "recursion");
}

#[test]
fn one_operation_that_makes_too_much() {
    for bomb in [
        "'a' * 10**9",
        "10**9 * 'a'",
        "'a' * 10**8",
        "('a' * 10000) * 10000",
        "'a' * n",
        "[1] * 10**9",
        "([1] * 10**6) | list",
        "(1, 2) * 10**8",
        "x.replace('', x)",
        "x | replace('', x)",
        "x.join(range(100000) | map('string'))",
        "range(100000) | join(x)",
        "([x] * 100000) | join",
        "x.join([x] * 100000)",
        "('x\n' * 100000) | indent(10**9)",
        "('\n' * 100000) | indent(width=10**9, blank=true)",
        "[1, 2] | tojson(indent=10**9)",
        "([x] * 100000) | tojson",
        "([x] * 100000) | string",
        "([x] * 100000) ~ ''",
        "[x] * 100000",
    ] {
        let set = "{% set n = 10**9 %}{% set x = 'x' * 100000 %}";
        match render(&format!("{set}{{{{ {bomb} }}}}")) {
            Err(ChatError::Limit { what: "bytes made" | "bytes read", .. }) => {}
            other => panic!("{bomb}: {:.200}", format!("{other:?}")),
        }
    }
}

#[test]
fn many_operations_that_double() {
    for (start, double) in [
        ("'x'", "ns.x + ns.x"),
        ("'x'", "ns.x ~ ns.x"),
        ("'x'", "ns.x * 2"),
        ("'x'", "ns.x.replace('x', 'xx')"),
        ("'x'", "[ns.x, ns.x] | join"),
        ("'x'", "f(ns.x)"),
        ("'<'", "ns.x | tojson | tojson"),
        ("[1]", "ns.x + ns.x"),
        ("[1]", "[ns.x, ns.x]"),
        ("[1]", "(ns.x, ns.x)"),
        ("[1]", "{'a': ns.x, 'b': ns.x}"),
        ("[1]", "dict(a=ns.x, b=ns.x)"),
    ] {
        let f = "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}";
        let set = format!("{{% set ns = namespace(x={start}) %}}");
        let all = format!("{f}{set}{{% for i in range(64) %}}{{% set ns.x = {double} %}}{{% endfor %}}{{{{ ns.x }}}}");
        match render(&all) {
            Err(ChatError::Limit { what: "bytes made" | "bytes read", .. }) => {}
            other => panic!("{double}: {:.200}", format!("{other:?}")),
        }
    }
}

#[test]
fn captured_blocks_that_double() {
    let double = "{% set x %}{{ x }}{{ x }}{% endset %}".repeat(60);
    limited(&format!("{{% set x = 'x' %}}{double}{{{{ x }}}}"), "bytes made");
}

#[test]
fn values_nested_without_end() {
    for (start, deeper) in [("[]", "[ns.x]"), ("[]", "(ns.x,)"), ("{}", "{'a': ns.x}"), ("[]", "dict(a=ns.x)")] {
        let set = format!("{{% set ns = namespace(x={start}) %}}");
        limited(&format!("{set}{{% for i in range(99999) %}}{{% set ns.x = {deeper} %}}{{% endfor %}}"), "nesting");
    }
    let own = "{% set ns = namespace() %}{% set ns.a = ns %}";
    for use_ in ["{{ ns }}", "{{ ns ~ '' }}", "{{ [ns] }}", "{{ ns | string }}"] {
        limited(&format!("{own}{use_}"), "nesting");
    }
    // A namespace is equal to itself alone, so nobody looks inside.
    assert_eq!(render(&format!("{own}{{{{ ns == ns.a.a and [ns] | unique | length == 1 }}}}")).unwrap(), "True");
    fails(&format!("{own}{{{{ ns | tojson }}}}"));
    // Each holds the one before: they must not be dropped one inside the other.
    let list =
        "{% set ns = namespace(a=1) %}{% for i in range(50000) %}{% set ns.a = namespace(a=ns.a) %}{% endfor %}ok";
    assert_eq!(render(list).unwrap(), "ok");
    let deep = (0..150).fold(Json::Null, |inner, _| Json::List(vec![inner]));
    let options = RenderOptions { tools: Some(deep), ..RenderOptions::default() };
    let error = render_with("{{ tools | tojson }}", options).unwrap_err();
    assert!(matches!(error, ChatError::Limit { what: "nesting", .. }), "{error}");
}

#[test]
fn many_cheap_reads_of_much_text() {
    for read in ["x == y", "x in y", "x < y", "x | length", "x.strip()", "x[1:]", "x is eq y", "x | upper | length"] {
        let set = "{% set x = 'x' * 1000000 %}{% set y = 'x' * 1000000 %}";
        match render(&format!("{set}{{% for i in range(99999) %}}{{% if {read} %}}{{% endif %}}{{% endfor %}}")) {
            Err(ChatError::Limit { what: "bytes made" | "bytes read", .. }) => {}
            other => panic!("{read}: {:.200}", format!("{other:?}")),
        }
    }
}

#[test]
fn source_that_would_exhaust_the_compilers_stack() {
    let deep = 100_000;
    for template in [
        format!("{{{{ {}1 }}}}", "not ".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(deep)),
        format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{{{{ {}{} }}}}", "[".repeat(50_000), "]".repeat(50_000)),
        format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(9_000)),
        format!("{{% if a %}}{}", "{% if a %}".repeat(9_000)),
        format!("{}{{% endif %}}", "{% if a %}".repeat(140)),
        " ".repeat(200_000),
    ] {
        match render(&template) {
            Err(ChatError::Size { .. } | ChatError::Syntax { .. }) => {}
            other => panic!("{template:.60}: {:.200}", format!("{other:?}")),
        }
    }
    // What is long but not deep costs no stack.
    for (template, expected) in [
        (format!("{{{{ 1{} }}}}", "+1".repeat(50_000)), "50001".to_string()),
        (format!("{{{{ 'a'{} }}}}", "~'a'".repeat(25_000)), "a".repeat(25_001)),
        (format!("{{{{ 'a'{} }}}}", "|trim".repeat(20_000)), "a".to_string()),
        (format!("{{{{ 1{} }}}}", " and 1".repeat(20_000)), "1".to_string()),
        (format!("{{% if a %}}{}{{% else %}}b{{% endif %}}", "{% elif a %}".repeat(9_000)), "b".to_string()),
    ] {
        assert!(render(&template).as_ref() == Ok(&expected), "{template:.60}");
    }
    // What is allowed must fit the stack.
    let deep = 96;
    for (template, expected) in [
        (format!("{{{{ {}1 }}}}", "not ".repeat(deep)), "True"),
        (format!("{{{{ {}1{} }}}}", "(".repeat(deep), ")".repeat(deep)), "1"),
        (format!("{{{{ {}1{} }}}}", "['a',".repeat(deep), "][1]".repeat(deep)), "1"),
        (format!("{{{{ {}1{} }}}}", "range(".repeat(deep), ")[-1] + 1".repeat(deep)), "1"),
        (format!("{}b{}", "{% if 1 %}".repeat(deep), "{% endif %}".repeat(deep)), "b"),
        (format!("{}b{}", "{% for a in 'x' %}".repeat(deep), "{% endfor %}".repeat(deep)), "b"),
        (format!("{}b{}", "{% set a %}".repeat(deep), "{% endset %}".repeat(deep)), ""),
    ] {
        assert_eq!(render(&template).as_deref(), Ok(expected), "{template:.60}");
    }
    // The deepest expression in the deepest recursion.
    let inner = format!("{}f(n + 1){}", "[".repeat(90), "]".repeat(90));
    limited(&format!("{{% macro f(n) %}}{{{{ {inner} }}}}{{% endmacro %}}{{{{ f(0) }}}}"), "recursion");
    limited(
        "{% macro f(n) %}{% filter upper %}{% for a in [n] %}{% set b %}{{ f(n) }}{% endset %}{% endfor %}{% endfilter %}{% endmacro %}{{ f(0) }}",
        "recursion",
    );
    limited(&format!("{{{{ ['a'] | map({}) | list }}}}", "'map',".repeat(100)), "recursion");
}

#[test]
fn nonsense_is_an_error() {
    for template in ["{{", "{% if %}", "{% nope %}", "{{ 1 + }}", "{% endfor %}", "{{ 'a }}", "{% for x in %}", "{{ }}"]
    {
        assert!(matches!(render(template), Err(ChatError::Syntax { .. })), "{template}");
    }
    for template in [
        "{{ nope() }}",
        "{{ 1 | nope }}",
        "{{ 1 is nope }}",
        "{{ 'x'.nope() }}",
        "{{ messages() }}",
        "{{ nope.a }}",
        "{{ 1 // 0 }}",
        "{{ 1 + 'a' }}",
        "{{ 10 ** 999 }}",
        "{{ nope | tojson }}",
        "{% for x in 5 %}{% endfor %}",
        "{% set messages.x = 1 %}",
    ] {
        fails(template);
    }
}
