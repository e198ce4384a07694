//! A model file's chat template, with the file's tokenizer. (What templates can do: `core/template/tests`.)

mod vocabulary;

use picolm_core::gguf::Gguf;
use picolm_core::text::{ChatError, ChatTemplate, Encode, Message, RenderOptions};
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
