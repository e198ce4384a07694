//! A model file's chat template, with the file's tokenizer. (What templates can do: `core/template/tests`.)

mod vocabulary;

use picolm_core::gguf::Gguf;
use picolm_core::text::{ChatError, ChatTemplate, DateTime, Encode, Json, Message, RenderOptions};
use vocabulary::Keys;

#[test]
fn a_files_template_is_read_and_a_missing_one_is_none() {
    let tokenizer = Keys::bytes().read().unwrap();
    let read = |keys: Keys| ChatTemplate::from_gguf(&Gguf::parse(&keys.file()).unwrap(), &tokenizer);
    let source = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token is defined }}";
    let template = read(Keys::bytes().with("tokenizer.chat_template", source)).unwrap().unwrap();
    let prompt = template.render(&[Message::new("user", "ab")], &RenderOptions::default());
    assert_eq!(prompt.as_deref(), Ok("<s>ab</s>False"));
    assert!(read(Keys::bytes()).unwrap().is_none());
    let error = read(Keys::bytes().with("tokenizer.chat_template", 1u32)).unwrap_err();
    assert_eq!(error.to_string(), "key \"tokenizer.chat_template\" is not a string, but u32");
    let broken = read(Keys::bytes().with("tokenizer.chat_template", "{{"));
    assert!(matches!(broken, Err(ChatError::Syntax { line: 1, .. })), "{broken:?}");
}

#[test]
fn bos_written_by_the_template_is_not_doubled() {
    let tokenizer = Keys::bytes().with("tokenizer.ggml.add_bos_token", true).read().unwrap();
    for template in ["{{ bos_token }}ab{{ eos_token }}", "ab{{ eos_token }}"] {
        let prompt = ChatTemplate::new(template, &tokenizer).unwrap().render(&[], &RenderOptions::default()).unwrap();
        assert_eq!(tokenizer.encode(&prompt, Encode::PROMPT), [258, 256, 259], "{template}");
    }
}

/// Renders a user's `content` (JSON), and the beginning of an answer.
fn ask(template: &str, content: &str) -> Result<String, ChatError> {
    let Ok(Json::List(list)) = Json::parse(&format!(r#"[{{"role":"user","content":{content}}}]"#)) else { panic!() };
    let template = ChatTemplate::new(template, &Keys::bytes().read().expect("a tokenizer"))?;
    let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    template.render(&Message::list(list).expect("messages"), &options)
}

#[test]
fn a_template_gets_content_in_the_form_it_takes() {
    // SmolVLM's kind goes through parts, the second kind through characters of a text; the third takes both.
    let parts = "{% for m in messages %}{{ m.role|capitalize }}:{% for p in m.content %}{% if p.type == 'text' %} {{ p.text }}\
                 {% elif p.type == 'image' %}<image>{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}\
                 {% if add_generation_prompt %}Assistant:{% endif %}";
    let text = "{% for m in messages %}{{ 'U: ' + m.content }}{% endfor %}";
    let both = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}!{% endif %}{% endfor %}";
    for content in [r#""my question""#, r#"[{"type":"text","text":"my "},{"type":"text","text":"question"}]"#] {
        assert_eq!(ask(parts, content).as_deref(), Ok("User: my question<end_of_utterance>\nAssistant:"));
        assert_eq!(ask(text, content).as_deref(), Ok("U: my question"));
        assert_eq!(ask(both, content).as_deref(), Ok("my question"));
    }
}

#[test]
fn what_is_said_is_never_left_out_silently() {
    assert_eq!(ask("{{ messages[0].role }}", r#""a""#), Err(ChatError::Unread));
    assert_eq!(ask("{{ messages[0].role }}", r#""""#).as_deref(), Ok("user"));
    // A template that takes other conversations than those tried says itself what is wrong.
    let pairs = "{% if messages|length < 2 %}{{ raise_exception('Two!') }}{% endif %}{{ messages[1].content }}";
    assert_eq!(ask(pairs, r#""a""#), Err(ChatError::Refused("Two!".into())));
}

/// The templates of published models, by name.
fn published() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/template/tests/published");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let templates = files.filter(|path| path.extension().is_some_and(|extension| extension == "jinja"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a template"))
    };
    let all: Vec<_> = templates.map(read).collect();
    assert!(all.len() >= 14);
    all
}

/// With every field that templates may want.
fn options() -> RenderOptions {
    RenderOptions { now: Some(DateTime::from_unix(0)), add_generation_prompt: true, ..RenderOptions::default() }
}

#[test]
fn every_published_template_can_be_continued() {
    let tokenizer = Keys::bytes().read().expect("a tokenizer");
    let said = |content: &str| [Message::new("user", "a"), Message::new("assistant", content)];
    for (name, source) in published() {
        let template = ChatTemplate::new(&source, &tokenizer).expect("a template");
        let whole = template.render(&said("one, two"), &options()).expect(&name);
        let (before, _) = whole.rsplit_once("one, two").expect(&name);
        for content in ["one, two", "one, two ", " one", ""] {
            let begun = template.render_unfinished(&said(content), &options()).expect(&name);
            assert!(begun.starts_with(before.trim_end()), "{name}: {begun}");
            assert!(begun.ends_with(content.trim_start()), "{name}: {begun}");
        }
    }
}
