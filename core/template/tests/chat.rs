//! Chat templates render as Jinja2 renders them with Hugging Face's settings.
//!
//! Expected texts were made with Jinja2 3.1: `ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
//! extensions=[loopcontrols, …])`, `tojson` and `strftime_now` as in `transformers.utils.chat_template_utils`.

mod common;

use common::{entries, json, render};
use picolm_template::{ChatError, DateTime, Json, Message, RenderOptions};
use serde_json::json;

/// SmolLM2's own template, and Qwen2.5's but for the default system prompt.
const SMOLLM2: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Templates and what they render to for [`messages`], [`options`] and BOS `<s>`, EOS `</s>`.
const CASES: &[(&str, &str)] = &[
    (
        "{% for x in [none, nothing, 'a', [], {}, 1, true] %}{{ x is iterable }} {% endfor %}{{ documents is iterable and documents | length > 0 }}",
        "False True True True True False False False",
    ),
    (
        "{%- for m in messages %}\n  {%- if m.role == 'user' %}\n[{{ m.content | trim }}]\n  {%- endif %}\n{%- endfor %}\n",
        "[Hi][{{ 1 }}]",
    ),
    ("{% if true %}\n  a\n{% endif %}\n    {% set x = 1 %}\nb\n\n", "  a\nb\n"),
    (
        "{{ tools | tojson }}",
        "[{\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"description\": \"Get it's \\\"weather\\\" <now> & é\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"The city\"}, \"days\": {\"type\": \"integer\", \"default\": 3, \"enum\": [1, 2.5, 1e+20, null, true]}, \"unit\": {\"type\": [\"string\", \"null\"], \"enum\": [\"c\", \"f\"]}}, \"required\": [\"city\"]}, \"return\": {\"type\": \"object\"}}}]",
    ),
    (
        "{{ tools | tojson(indent=2) }}",
        "[\n  {\n    \"type\": \"function\",\n    \"function\": {\n      \"name\": \"get_weather\",\n      \"description\": \"Get it's \\\"weather\\\" <now> & é\",\n      \"parameters\": {\n        \"type\": \"object\",\n        \"properties\": {\n          \"city\": {\n            \"type\": \"string\",\n            \"description\": \"The city\"\n          },\n          \"days\": {\n            \"type\": \"integer\",\n            \"default\": 3,\n            \"enum\": [\n              1,\n              2.5,\n              1e+20,\n              null,\n              true\n            ]\n          },\n          \"unit\": {\n            \"type\": [\n              \"string\",\n              \"null\"\n            ],\n            \"enum\": [\n              \"c\",\n              \"f\"\n            ]\n          }\n        },\n        \"required\": [\n          \"city\"\n        ]\n      },\n      \"return\": {\n        \"type\": \"object\"\n      }\n    }\n  }\n]",
    ),
    (
        "{{ {'b': 1, 'a': [1.0, 1e20, 0.00001, none, true]} | tojson(sort_keys=true, separators=(',', ':')) }}",
        "{\"a\":[1.0,1e+20,1e-05,null,true],\"b\":1}",
    ),
    (
        "{{ 'é\\u0007\"/' | tojson }} {{ 'é🦙' | tojson(ensure_ascii=true) }}",
        "\"é\\u0007\\\"/\" \"\\u00e9\\ud83e\\udd99\"",
    ),
    (
        "{{ [1, 'a', \"it's\", none, true, 2.5, {'k': (1, 2)}, (3,)] }} {{ none }} {{ false }} {{ 'x' ~ true ~ 1.0 }}",
        "[1, 'a', \"it's\", None, True, 2.5, {'k': (1, 2)}, (3,)] None False xTrue1.0",
    ),
    (
        "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s + m['role'][0] %}{% endfor %}{{ ns.n }}{{ ns.s }}",
        "4suau",
    ),
    (
        "{% for m in messages if m.role != 'system' %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
        "1/3,2/3,3/3",
    ),
    (
        "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{% if loop.index0 == 3 %}{% break %}{% endif %}{{ m.role }};{% endfor %}",
        "system;assistant;",
    ),
    (
        "{% macro f(x, y='d') %}<{{ x }}|{{ y }}>{% endmacro %}{{ f(1) }}{{ f(2, y=3) }}{% set z %}{{ f('q') }}{% endset %}{{ z | length }}",
        "<1|d><2|3>5",
    ),
    (
        "{{ messages[1:] | map(attribute='role') | join(', ') }} {{ messages[::-1][0].role }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
        "user, assistant, user user 2",
    ),
    (
        "{{ 'a</think>b'.split('</think>')[-1] }} {{ ' x '.strip() }} {{ 'abc'.startswith('ab') }} {{ 'Ab'.upper() }} {{ 'a-b'.replace('-', '') }} {{ {'a': 1}.get('z', 'no') }} {{ {'a': 1, 'b': 2}.items() | list }}",
        "b x True AB ab no [('a', 1), ('b', 2)]",
    ),
    (
        "{{ undefined_thing }}|{{ undefined_thing is defined }}|{{ tools is none }}|{{ messages[0].nothing is not defined }}|{{ messages is string }}{{ 'x' is string }}{{ {} is mapping }}{{ [] is sequence }}",
        "|False|False|True|FalseTrueTrueTrue",
    ),
    (
        "{{ '=' * 5 }}{{ 2 * 3 }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 5 }}{{ 1 / 4 }}{{ -3 }}{{ 1.0 * 2 }}",
        "=====633320.25-32.0",
    ),
    (
        "{{ 1 == 1.0 }}{{ 'a' in 'cat' }}{{ 2 in [1, 2] }}{{ 'k' in {'k': 1} }}{{ 'z' not in 'cat' }}{{ 1 < 2 <= 2 }}{{ 'a' < 'b' }}",
        "TrueTrueTrueTrueTrueTrueTrue",
    ),
    (
        "{{ bos_token }}{{ eos_token }}{{ strftime_now('%d %b %Y') }}{{ 'x' | default('y') }}{{ nope | default('y') }}{{ '' | default('z', true) }}",
        "<s></s>31 Dec 2024xyz",
    ),
    (
        "{% generation %}{{ messages[0].content }}{% endgeneration %}{# note #}{% raw %}{{ x }}{% endraw %}",
        "Be brief.{{ x }}",
    ),
    (
        "{{ 'line1\nline2' | indent(2) }}|{{ 'a,b' | replace(',', ';') }}|{{ [3,1,2] | sort | first }}|{{ 'x' | upper }}|{{ ['a','b'] | last }}|{{ 3.7 | int }}|{{ '5' | int + 1 }}",
        "line1\n  line2|a;b|1|X|b|3|6",
    ),
    (
        "{% set a, b = (1, 2) %}{{ a }}{{ b }}{% set l = [1] + [2] %}{{ l }}{{ l | length }}{{ dict(a=1) }}{{ range(3) | list }}{{ 'yes' if l else 'no' }}",
        "12[1, 2]2{'a': 1}[0, 1, 2]yes",
    ),
];

fn messages() -> Vec<Message> {
    vec![
        Message::new("system", "Be brief."),
        Message::new("user", " Hi\n"),
        Message::new("assistant", "Hello <|im_end|> 'é'"),
        Message::new("user", "{{ 1 }}"),
    ]
}

fn options() -> RenderOptions {
    let tool = json!({"type": "function", "function": {
        "name": "get_weather",
        "description": "Get it's \"weather\" <now> & é",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city"},
                "days": {"type": "integer", "default": 3, "enum": [1, 2.5, 1e20, null, true]},
                "unit": {"type": ["string", "null"], "enum": ["c", "f"]}
            },
            "required": ["city"]
        },
        "return": {"type": "object"}
    }});
    RenderOptions {
        add_generation_prompt: true,
        now: Some(DateTime { year: 2024, month: 12, day: 31, hour: 23, minute: 59, second: 59 }),
        tools: Some(json(json!([tool]))),
        ..RenderOptions::default()
    }
}

#[test]
fn templates_render_as_jinja2_renders_them() {
    for (template, expected) in CASES {
        assert_eq!(render(template, &messages(), &options()).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn smollm2_renders_conversations() {
    let all = messages();
    let prompt = render(SMOLLM2, &all, &options()).unwrap();
    assert_eq!(
        prompt,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\nHello <|im_end|> 'é'<|im_end|>\n<|im_start|>user\n{{ 1 }}<|im_end|>\n<|im_start|>assistant\n"
    );
    let history = RenderOptions { add_generation_prompt: false, ..options() };
    let prompt = render(SMOLLM2, &all[1..3], &history).unwrap();
    assert_eq!(
        prompt,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\nHello <|im_end|> 'é'<|im_end|>\n"
    );
    let prompt = render(SMOLLM2, &[Message::new("user", "Hi")], &options()).unwrap();
    assert_eq!(
        prompt,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[test]
fn messages_carry_other_fields_and_options_other_variables() {
    let mut message = Message::new("assistant", "");
    message.fields = entries(json!({"tool_calls": [{"function": {"name": "f", "arguments": {"z": 1, "a": [2.0]}}}]}));
    let mut options = options();
    options.variables.push(("enable_thinking".into(), Json::Bool(false)));
    let template = "{% for c in messages[0].tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}\
                    {{ c.function.arguments }}{% endfor %}{{ enable_thinking is false }}";
    assert_eq!(render(template, &[message], &options).unwrap(), "f{\"z\": 1, \"a\": [2.0]}{'z': 1, 'a': [2.0]}True");
}

#[test]
fn without_a_clock_templates_fall_back() {
    let options = RenderOptions { now: None, ..options() };
    let template = "{{ strftime_now('%Y') if strftime_now is defined else 'some day' }}";
    assert_eq!(render(template, &[], &options).unwrap(), "some day");
    let error = render("{{ strftime_now('%Y') }}", &[], &options).unwrap_err();
    assert!(matches!(&error, ChatError::Render { message, .. } if message.contains("strftime_now")), "{error}");
}

#[test]
fn a_template_can_refuse() {
    let template = "\n{% if messages[0].role != 'user' %}{{ raise_exception('Users first!') }}{% endif %}";
    assert_eq!(render(template, &messages(), &options()), Err(ChatError::Refused("Users first!".into())));
}

#[test]
fn errors_name_the_line() {
    let error = render("a\n{{ x.y.z }}", &[], &options()).unwrap_err();
    assert!(matches!(error, ChatError::Render { line: 2, .. }), "{error}");
    let error = render("a\n\n{% if %}", &[], &options()).unwrap_err();
    assert!(matches!(error, ChatError::Syntax { line: 3, .. }), "{error}");
}
