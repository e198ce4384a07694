//! What came with a request stays known as such, whatever a template does with it.

use picolm_template::{Json, Message, RenderOptions, Template};

/// What a template makes of a user's message `aXb c`, with the variable `v` = `{"k": "w", "n": 7}`; what came with them in «».
fn marked(template: &str) -> String {
    let template =
        Template::new(&format!("{{% set c = messages[0].content %}}{template}"), Vec::new()).expect(template);
    let v = Json::Object(vec![("k".into(), "w".into()), ("n".into(), Json::Int(7))]);
    let options = RenderOptions { variables: vec![("v".into(), v)], ..RenderOptions::default() };
    let traced = template.trace(&[Message::new("user", "aXb c")], &options).expect("a text");
    let (mut out, mut done) = (String::new(), 0);
    for given in traced.given() {
        assert!(given.start < given.end && (given.start > done || done == 0), "{given:?}");
        out += &format!("{}«{}»", &traced.text()[done..given.start], &traced.text()[given.clone()]);
        done = given.end;
    }
    out + &traced.text()[done..]
}

#[test]
fn parts_and_sums_keep_the_origin_of_each_byte() {
    for (template, expected) in [
        ("<{{ c }}>", "<«aXb c»>"),
        ("{{ messages[0].role }}", "user"),
        ("{{ '<' + c + '>' }}{{ '<' ~ c ~ '>' ~ c }}", "<«aXb c»><«aXb c»>«aXb c»"),
        ("{{ (' <' ~ c ~ '> ')|trim }}|{{ ('--' ~ c).strip('-c') }}", "<«aXb c»>|«aXb »"),
        ("{{ ('<' ~ c ~ '>')[1:-1] }}{{ ('<' ~ c ~ '>')[:3] }}{{ ('<' ~ c)[::-1] }}", "«aXb c»<«aXc bXa»<"),
        ("{{ ('<' ~ c)[0] }}{{ ('<' ~ c)[1] }}{{ c|first }}{{ c|last }}", "<«aac»"),
        ("{% for x in ('<' ~ c).split('X') %}[{{ x }}]{% endfor %}", "[<«a»][«b c»]"),
        ("{{ c.split() | join('|') }}{{ ['<', c] | join(c) }}", "«aXb»|«c»<«aXb caXb c»"),
        (
            "{{ c | replace('X', '-') }} {{ '<x>' | replace('x', c) }} {{ c.replace('X', v.k) }}",
            "«a»-«b c» <«aXb c»> «awb c»",
        ),
        ("{{ ('<' ~ c) | replace('<', '[') }}", "[«aXb c»"),
        ("{% for x in '<' ~ c %}{{ x }}.{% endfor %}", "<.«a».«X».«b».« ».«c»."),
        ("{{ ('<' ~ c ~ '>') | list | reverse | join }}", ">«c bXa»<"),
        ("{{ ('<' ~ c ~ '>') | reverse }}", ">«c bXa»<"),
        ("{{ ('<' ~ c) * 2 }}", "<«aXb c»<«aXb c»"),
        ("{{ '<%s|%s>' % (c, 1) }}{{ '<{}>{x}'.format(c, x='x') }}{{ c % () }}", "<«aXb c»|1><«aXb c»>x«aXb c»"),
        (
            "{% macro m(x) %}<{{ x }}>{{ caller() if caller }}{% endmacro %}{{ m(c) | trim }}{% call m(c) %}!{{ c }}{% endcall %}",
            "<«aXb c»><«aXb c»>!«aXb c»",
        ),
        ("{% set s %}<{{ c }}>{% endset %}{{ s.removeprefix('<') }}", "«aXb c»>"),
        ("{% filter trim %} <{{ c }}> {% endfilter %}", "<«aXb c»>"),
        (
            "{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x + '<' + m.content %}{% endfor %}{{ ns.x }}",
            "<«aXb c»",
        ),
        ("{{ ('<\n' ~ c) | indent(2) }}", "<\n  «aXb c»"),
        ("{{ [c, '<'] }}{{ {c: '<'} }}", "['«aXb c»', '<']{'«aXb c»': '<'}"),
        (
            "{{ v | tojson }}{{ {'a': '<', 'b': c} | tojson }}",
            "{\"«k»\": \"«w»\", \"«n»\": 7}{\"a\": \"<\", \"b\": \"«aXb c»\"}",
        ),
        ("{% for k in v %}<{{ k }}{{ v[k] }}>{% endfor %}{{ dict(**v) }}", "<«kw»><«n»7>{'«k»': '«w»', '«n»': 7}"),
        (
            "{% macro m() %}{{ kwargs }}{% endmacro %}{{ m(**v) }}{{ namespace(**v) }}",
            "{'«k»': '«w»', '«n»': 7}<Namespace {'«k»': '«w»', '«n»': 7}>",
        ),
        ("{{ c if c == 'aXb c' else 'no' }}{{ '<' if 'X' in c }}{{ c|length }}", "«aXb c»<5"),
        ("{{ c or '<' }}{{ nothing or c }}{{ nope | default(c) }}", "«aXb caXb caXb c»"),
        (
            "{{ '[%6s]'|format('ab'[0] ~ c) }}{{ '{:<7}|{:.2}'.format(c, c) }}{{ '{:{}>7}'.format(c, c[0]) }}",
            "[a«aXb c»]«aXb c»  |«aXaaaXb c»",
        ),
        (
            "{{ ('<:' ~ c).partition(':')[2] }}{{ c.ljust(6) }}.{{ c.center(7, '-') }}{{ c.zfill(6) }}",
            "«aXb caXb c» .-«aXb c»-0«aXb c»",
        ),
        (
            "{{ ('<b> ' ~ c ~ ' and more') | truncate(9, true) }}{{ [c]|batch(2, '<')|first|join }}",
            "<b> «aX»...«aXb c»<",
        ),
        (
            "{% set j = joiner(c) %}{{ j() }}<{{ j() }}{% for k, l in [{'k': c}]|groupby('k') %}<{{ k }}{% endfor %}",
            "<«aXb c»<«aXb c»",
        ),
        ("{{ 'a<' | urlencode }}{{ c | urlencode }}{{ ('<\t' ~ c).expandtabs(2) }}", "a%3C«aXb%20c»< «aXb c»"),
        ("{{ [c, 'd']|sort|join('<') }}{{ [{'k': c}]|map(attribute='k')|join }}{{ [c]|max }}", "«aXb c»<d«aXb caXb c»"),
    ] {
        assert_eq!(marked(template), expected, "{template}");
    }
}

#[test]
fn what_is_computed_of_what_was_given_was_given() {
    for (template, expected) in [
        ("{{ c | upper }}{{ 'a' | upper }}", "«AXB C»A"),
        ("{{ ('<' ~ c) | upper }}", "«<AXB C»"),
        ("{{ c | title }}{{ c | capitalize }}", "«Axb CAxb c»"),
        ("{{ ('&' ~ c) | e }}", "«&amp;aXb c»"),
        ("{{ ('\"' ~ c) | tojson }}{{ ['\n' ~ c] }}", "\"«\\\"aXb c»\"['«\\naXb c»']"),
    ] {
        assert_eq!(marked(template), expected, "{template}");
    }
}

#[test]
fn a_text_is_cut_with_its_origins() {
    let template = Template::new("<{{ messages[0].content }}>", Vec::new()).expect("a template");
    for at in 0..=4 {
        let mut whole = template.trace(&[Message::new("user", "ab")], &RenderOptions::default()).expect("a text");
        let rest = whole.split_off(at);
        let shown = |part: &picolm_template::Traced| (part.text().to_string(), part.given().collect::<Vec<_>>());
        let wanted =
            |text: &str, from: usize, to: usize| (text.to_string(), Vec::from_iter((from < to).then_some(from..to)));
        assert_eq!(shown(&whole), wanted(&"<ab>"[..at], 1, at.min(3)), "{at}");
        assert_eq!(shown(&rest), wanted(&"<ab>"[at..], at.max(1) - at, at.max(3) - at), "{at}");
    }
}
