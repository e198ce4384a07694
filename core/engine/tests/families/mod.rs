//! How families of models write calls: the part of a chat template that does it, written for these tests by what the models' own
//! templates and cards say of their form. The rest of a template is the same for all, but for its marks.

/// A form of calls.
pub struct Family {
    pub name: &'static str,
    /// in front of an answer, and behind it
    around: [&'static str; 2],
    /// what a prompt ends with behind the mark of the assistant
    prompt: &'static str,
    /// the calls in `m.tool_calls`
    calls: &'static str,
}

impl Family {
    /// The template.
    pub fn template(&self) -> String {
        let Family { around: [before, after], prompt, calls, .. } = self;
        format!(
            "{{{{ bos_token }}}}{{% for m in messages %}}{{% if m.role == 'user' %}}<|user|>{{{{ m.content }}}}{after}\
             {{% else %}}{before}{{{{ m.content or '' }}}}{{% if m.tool_calls %}}{calls}{{% endif %}}{after}{{% endif %}}{{% endfor %}}\
             {{% if add_generation_prompt %}}{before}{prompt}{{% endif %}}"
        )
    }
}

const CHATML: [&str; 2] = ["<|im_start|>assistant\n", "<|im_end|>\n"];
const LLAMA: [&str; 2] = ["<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"];
const MISTRAL: [&str; 2] = ["", "</s>"];
const DEEPSEEK: [&str; 2] = ["<｜Assistant｜>", "<｜end▁of▁sentence｜>"];

/// One call each, in a form of its own.
macro_rules! each {
    ($call:literal) => {
        concat!("{% for c in m.tool_calls %}", $call, "{% endfor %}")
    };
}

/// `k=v` of the arguments in Python.
macro_rules! python {
    () => {
        "{{ c.function.name }}({% for k, v in c.function.arguments | items %}{{ k }}={% if v is string %}{{ v | tojson }}{% else %}{{ v }}{% endif %}{{ ', ' if not loop.last }}{% endfor %})"
    };
}

macro_rules! list {
    ($open:literal, $call:literal, $close:literal) => {
        concat!($open, "{% for c in m.tool_calls %}", $call, "{{ ', ' if not loop.last }}{% endfor %}", $close)
    };
}

#[rustfmt::skip]
pub const FAMILIES: &[Family] = &[
    Family { name: "hermes", around: CHATML, prompt: "", calls: each!("\n<tool_call>\n{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>") },
    Family { name: "hermes, arguments first", around: CHATML, prompt: "", calls: each!("\n<tool_call>\n{{ {'arguments': c.function.arguments, 'name': c.function.name} | tojson }}\n</tool_call>") },
    Family { name: "hermes, arguments as text", around: CHATML, prompt: "", calls: each!("<tool_call>{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}}</tool_call>") },
    Family { name: "qwen3, thinking begun", around: CHATML, prompt: "<think>\n", calls: each!("<tool_call>\n{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>{{ '' if true else '</think>' }}") },
    Family { name: "qwen3-coder", around: CHATML, prompt: "", calls: each!("<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments | items %}<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</tool_call>{{ '\n' if not loop.last }}") },
    Family { name: "seed-oss", around: ["<seed:bos>assistant\n", "<seed:eos>"], prompt: "", calls: each!("<seed:tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments | items %}<parameter={{ k }}>{{ v }}</parameter>\n{% endfor %}</function>\n</seed:tool_call>{{ '</seed:think>' if false }}") },
    Family { name: "glm-4.5", around: ["<|assistant|>\n", "<|user|>"], prompt: "", calls: each!("\n<tool_call>{{ c.function.name }}\n{% for k, v in c.function.arguments | items %}<arg_key>{{ k }}</arg_key>\n<arg_value>{{ v if v is string else v | tojson }}</arg_value>\n{% endfor %}</tool_call>") },
    Family { name: "deepseek-r1", around: DEEPSEEK, prompt: "<think>\n", calls: "{{ '</think>' if false }}<｜tool▁calls▁begin｜>{% for c in m.tool_calls %}<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{ c.function.name }}\n```json\n{{ c.function.arguments | tojson }}\n```<｜tool▁call▁end｜>{{ '\n' if not loop.last }}{% endfor %}<｜tool▁calls▁end｜>" },
    Family { name: "deepseek-v3.1", around: DEEPSEEK, prompt: "</think>", calls: "<｜tool▁calls▁begin｜>{% for c in m.tool_calls %}<｜tool▁call▁begin｜>{{ c.function.name }}<｜tool▁sep｜>{{ c.function.arguments | tojson }}<｜tool▁call▁end｜>{% endfor %}<｜tool▁calls▁end｜>" },
    Family { name: "deepseek-v3.2", around: DEEPSEEK, prompt: "", calls: "\n\n<｜DSML｜function_calls>\n{% for c in m.tool_calls %}<｜DSML｜invoke name=\"{{ c.function.name }}\">\n{% for k, v in c.function.arguments | items %}<｜DSML｜parameter name=\"{{ k }}\" string=\"{{ 'true' if v is string else 'false' }}\">{{ v if v is string else v | tojson }}</｜DSML｜parameter>\n{% endfor %}</｜DSML｜invoke>\n{% endfor %}</｜DSML｜function_calls>" },
    Family { name: "mistral, a list", around: MISTRAL, prompt: "", calls: list!("[TOOL_CALLS][", "{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}, \"id\": \"{{ c.id }}\"}", "]") },
    Family { name: "mistral, marks", around: MISTRAL, prompt: "", calls: each!("[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}") },
    Family { name: "mistral, marks and ids", around: MISTRAL, prompt: "", calls: each!("[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments | tojson }}") },
    Family { name: "magistral", around: MISTRAL, prompt: "", calls: each!("{{ '[THINK][/THINK]' if false }}[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}") },
    Family { name: "llama-3", around: LLAMA, prompt: "", calls: "{% if m.tool_calls | length != 1 %}{{ raise_exception('one at a time') }}{% endif %}{% set c = m.tool_calls[0] %}{\"name\": \"{{ c.function.name }}\", \"parameters\": {{ c.function.arguments | tojson }}}" },
    Family { name: "llama-3, several", around: LLAMA, prompt: "", calls: "{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", \"parameters\": {{ c.function.arguments | tojson }}}{{ '; ' if not loop.last }}{% endfor %}" },
    Family { name: "llama-4", around: ["<|header_start|>assistant<|header_end|>\n\n", "<|eot|>"], prompt: "", calls: concat!("<|python_start|>[{% for c in m.tool_calls %}", python!(), "{{ ', ' if not loop.last }}{% endfor %}]<|python_end|>") },
    Family { name: "llama-4, no marks", around: ["<|header_start|>assistant<|header_end|>\n\n", "<|eot|>"], prompt: "", calls: concat!("[{% for c in m.tool_calls %}", python!(), "{{ ', ' if not loop.last }}{% endfor %}]") },
    Family { name: "lfm2", around: CHATML, prompt: "", calls: concat!("<|tool_call_start|>[{% for c in m.tool_calls %}", python!(), "{{ ', ' if not loop.last }}{% endfor %}]<|tool_call_end|>") },
    Family { name: "olmo-3", around: CHATML, prompt: "", calls: concat!("<function_calls>{% for c in m.tool_calls %}", python!(), "{{ '\n' if not loop.last }}{% endfor %}</function_calls>") },
    Family { name: "gemma-3", around: ["<start_of_turn>model\n", "<end_of_turn>\n"], prompt: "", calls: concat!("```tool_code\n{% for c in m.tool_calls %}", python!(), "{{ '\n' if not loop.last }}{% endfor %}\n```") },
    Family { name: "granite-3", around: ["<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\n"], prompt: "", calls: list!("<|tool_call|>[", "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}", "]") },
    Family { name: "granite-4", around: ["<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\n"], prompt: "", calls: each!("\n<tool_call>\n{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}}\n</tool_call>") },
    Family { name: "phi-4-mini", around: ["<|assistant|>", "<|end|>"], prompt: "", calls: list!("<|tool_call|>[", "{{ {'type': 'function', 'function': {'name': c.function.name, 'arguments': c.function.arguments}} | tojson }}", "]<|/tool_call|>") },
    Family { name: "smollm3", around: CHATML, prompt: "<think>\n\n</think>\n", calls: each!("<tool_call>{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}</tool_call>") },
    Family { name: "kimi-k2", around: ["<|im_assistant|>assistant<|im_middle|>", "<|im_end|>"], prompt: "", calls: "<|tool_calls_section_begin|>{% for c in m.tool_calls %}<|tool_call_begin|>functions.{{ c.function.name }}:{{ loop.index0 }}<|tool_call_argument_begin|>{{ c.function.arguments | tojson }}<|tool_call_end|>{% endfor %}<|tool_calls_section_end|>" },
    Family { name: "command-r7b", around: ["<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"], prompt: "<|START_THINKING|>", calls: "{{ '<|END_THINKING|>' if false }}<|START_ACTION|>[\n{% for c in m.tool_calls %}    {\"tool_call_id\": \"{{ loop.index0 }}\", \"tool_name\": \"{{ c.function.name }}\", \"parameters\": {{ c.function.arguments | tojson }}}{{ ',\n' if not loop.last }}{% endfor %}\n]<|END_ACTION|>" },
    Family { name: "functionary-3.1", around: LLAMA, prompt: "", calls: each!("<function={{ c.function.name }}>{{ c.function.arguments | tojson }}</function>") },
    Family { name: "apertus", around: ["<|assistant_start|>", "<|assistant_end|>"], prompt: "", calls: list!("<|tools_prefix|>[", "{{ {c.function.name: c.function.arguments} | tojson }}", "]<|tools_suffix|>") },
    Family { name: "apriel", around: ["<|assistant|>\n", "<|end|>\n"], prompt: "", calls: list!("\n<tool_calls>[", "{{ {'name': c.function.name, 'arguments': c.function.arguments, 'id': c.id} | tojson }}", "]</tool_calls>") },
    Family { name: "gigachat-3.1", around: ["assistant<|role_sep|>\n", "<|message_sep|>\n\n"], prompt: "", calls: "{% set c = m.tool_calls[0] %}<|function_call|>{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}" },
    Family { name: "firefunction", around: LLAMA, prompt: "", calls: list!(" functools[", "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}", "]") },
    Family { name: "minimax-m2", around: ["]~b]ai\n", "[e~[\n"], prompt: "<think>\n", calls: "{{ '</think>' if false }}\n<minimax:tool_call>\n{% for c in m.tool_calls %}<invoke name=\"{{ c.function.name }}\">\n{% for k, v in c.function.arguments | items %}<parameter name=\"{{ k }}\">{{ v if v is string else v | tojson }}</parameter>\n{% endfor %}</invoke>\n{% endfor %}</minimax:tool_call>" },
    Family { name: "xlam", around: CHATML, prompt: "", calls: list!("[", "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}", "]") },
    Family { name: "internlm2", around: CHATML, prompt: "", calls: "{% set c = m.tool_calls[0] %}<|action_start|><|plugin|>\n{{ {'name': c.function.name, 'parameters': c.function.arguments} | tojson }}<|action_end|>" },
    Family { name: "hunyuan", around: ["<|assistant|>", "<|eos|>"], prompt: "", calls: "<tool_calls>\n{% for c in m.tool_calls %}<tool_call>{{ c.function.name }}\n```json\n{{ c.function.arguments | tojson }}\n```</tool_call>\n{% endfor %}</tool_calls>" },
];
