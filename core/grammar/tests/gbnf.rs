//! GBNF: its whole syntax, and grammars of the kinds that come with llama.cpp, by texts that fit and texts that do not.

use picolm_grammar::{Error, Grammar, Limits, Matcher, Result, Source, Token, Vocabulary};
use std::sync::Arc;

fn vocabulary() -> Arc<Vocabulary> {
    let bytes: Vec<u8> = (0..=255).collect();
    let tokens = bytes.chunks(1).map(Token::Text).chain([
        Token::End(b"</s>"),
        Token::Special(b"<think>"),
        Token::Special(b"</think>"),
    ]);
    Vocabulary::new(tokens, None).unwrap()
}

fn grammar(text: &str) -> Result<Grammar> {
    Grammar::new(Source::Gbnf(text), &vocabulary(), &Limits::default())
}

/// By masks, as an engine asks.
fn fits(mut matcher: Matcher, tokens: &[u32]) -> bool {
    for at in 0..tokens.len() {
        let mask = matcher.mask(&tokens[..at]).unwrap();
        if mask[tokens[at] as usize / 32] >> (tokens[at] % 32) & 1 == 0 {
            return false;
        }
    }
    matcher.may_end(tokens).unwrap()
}

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

fn check(text: &str, fitting: &[&str], others: &[&str]) {
    let grammar = grammar(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for text in fitting {
        assert!(fits(grammar.matcher(), &bytes(text)), "{text:?} fits");
    }
    for text in others {
        assert!(!fits(grammar.matcher(), &bytes(text)), "{text:?} does not fit");
    }
}

#[test]
fn the_whole_syntax() {
    check(r#"root ::= "a" [b-d]? "x"* [0-9]+"#, &["a1", "acxx12"], &["a", "ae1", ""]);
    check(
        r#"root ::= "a"{2} "b"{1,} "c"{0,2} "d"{ 1 , 1 }"#,
        &["aabd", "aabbbccd"],
        &["abd", "aad", "aabcccd", "aabdd"],
    );
    check(
        r#"root ::= [^a-c\]] [\x41\u00e9\U0001F600] "\t\"\\\n" [a-] [\^] ."#,
        &["dA\t\"\\\n-^z", "éé\t\"\\\na^\n"],
        &["aA\t\"\\\n-^z"],
    );
    check(
        "# begin\nroot ::= ( # within\n  \"a\"\n  | b\n) \"!\" # end\n\nb ::= |\n \"b\"",
        &["a!", "b!", "!"],
        &["ab!", ""],
    );
    check("root ::= \"a\"\n  | \"b\"\nc ::= \"c\"", &["a", "b"], &["c", "ab"]);
    check("root ::= a-b\na-b ::= \"x\" Big\nBig ::= \"y\"", &["xy"], &["x"]);
    check("root ::= (\"a\"?)* \"\" (\"b\"*)+", &["", "ab", "aabb"], &["ba"]);
    check("root ::= \"(\" root \")\" | \"\"", &["", "()", "((()))"], &["(", "())"]);
}

#[test]
fn rules_that_begin_with_themselves() {
    check("root ::= root \"+\" [0-9] | [0-9]", &["1", "1+2+3"], &["", "1+", "+1"]);
}

#[test]
fn tokens() {
    let (think, close) = (257, 258);
    for text in ["root ::= <[257]> !<[258]>* <[258]> \"a\"", "root ::= <think> !</think>* </think> \"a\""] {
        let grammar = grammar(text).unwrap();
        let answer = [&[think], &bytes("hm")[..], &[close], &bytes("a")].concat();
        assert!(fits(grammar.matcher(), &answer));
        assert!(!fits(grammar.matcher(), &answer[1..]));
        assert!(!fits(grammar.matcher(), &bytes("a")));
    }
    for text in ["root ::= !<thought>", "root ::= <[x]>", "root ::= <[999]>"] {
        assert!(grammar(text).is_err(), "{text}");
    }
}

/// Where a greedy lexer reads on: `ws` belongs to the number before it, and the end of the line has to be left.
#[test]
fn arithmetic() {
    let text = r#"
        root  ::= (expr "=" ws term "\n")+
        expr  ::= term ([-+*/] term)*
        term  ::= ident | num | "(" ws expr ")" ws
        ident ::= [a-z] [a-z0-9_]* ws
        num   ::= [0-9]+ ws
        ws    ::= [ \t\n]*
    "#;
    let text: String = text.lines().map(|line| line.trim().to_string() + "\n").collect();
    check(&text, &["a=1\n", "(a +b)*2 = c\n\n", "x=1\ny=2\n"], &["a=1", "a+=1\n", "(a=1\n", "1a=2\n"]);
}

#[test]
fn what_may_be_two_things() {
    check("root ::= a \"b\"\na ::= \"a\" | \"ab\" | \"(\" a \")\"", &["ab", "abb", "(ab)b"], &["a", "abbb"]);
    check("root ::= s s\ns ::= [a-z]+ | \"(\" s \")\"", &["ab", "a(b)", "((a))b"], &["a", "(a)"]);
    check("root ::= x \"end\"\nx ::= [a-z]* | \"(\" x \")\"", &["end", "endend", "abcend", "()end"], &["en", "abc"]);
    check(
        "root ::= \"if\" sp name | name \"=\" root | \"(\" root \")\"\nname ::= [a-z]+\nsp ::= \" \"+",
        &["if  x", "if=if x", "(x=if  y)"],
        &["ifx", "if"],
    );
}

#[test]
fn json() {
    let text = r#"
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
"#;
    let fitting = ["{}", "{ \"a\": [1, -2.5e3, \"é\\u00e9\\n\", {}],\n \"b\": null}\n", "{\"a\":true}"];
    check(text, &fitting, &["[]", "{\"a\"}", "{\"a\":01}", "{\"a\":1,}", "{\"a\":tru}", "{\"a\": \"\n\"}"]);
}

#[test]
fn lists_and_japanese() {
    check(
        "root ::= item+\n\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"\n",
        &["- a\n", "- a\n- – b\n"],
        &["- \n", "- a"],
    );
    let text = r#"
root         ::= jp-char+ ([ \t\n] jp-char+)*
jp-char      ::= hiragana | katakana | punctuation | cjk
hiragana     ::= [ぁ-ゟ]
katakana     ::= [ァ-ヿ]
punctuation  ::= [、-〾]
cjk          ::= [一-鿿]
"#;
    check(text, &["日本語、ひらがな", "カ タ"], &["a", "日 ", ""]);
}

#[test]
fn chess() {
    let text = r#"
root   ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move   ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn   ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle ::= "O-O" "-O"?
"#;
    check(
        text,
        &["1. e4 e5\n2. Nf3 Nc6\n", "1. d4 d5\n2. Qd3 O-O-O\n10. exd5 Rfxd5+\n"],
        &["1. e4 e5\n", "2. e4 e5\n", "1. e9 e5\n2. a4 a5\n"],
    );
}

#[test]
fn a_language() {
    let text = r#"
root ::= (declaration)*
declaration ::= dataType identifier "(" parameter? ")" "{" statement* "}"
dataType  ::= "int" ws | "float" ws | "char" ws
identifier ::= [a-zA-Z_] [a-zA-Z_0-9]*
parameter ::= dataType identifier
statement ::=
    ( dataType identifier ws "=" ws expression ";" ) |
    ( identifier ws "=" ws expression ";" ) |
    ( identifier ws "(" argList? ")" ";" ) |
    ( "return" ws expression ";" ) |
    ( "while" "(" condition ")" "{" statement* "}" ) |
    ( "if" "(" condition ")" "{" statement* "}" ("else" "{" statement* "}")? ) |
    ( singleLineComment ) |
    ( multiLineComment )
condition ::= expression relationOperator expression
relationOperator ::= ("<=" | "<" | "==" | "!=" | ">=" | ">")
expression ::= term (("+" | "-") term)*
term ::= factor(("*" | "/") factor)*
factor ::= identifier | number | unaryTerm | funcCall | parenExpression
unaryTerm ::= "-" factor
funcCall ::= identifier "(" argList? ")"
parenExpression ::= "(" ws expression ws ")"
argList ::= expression ("," ws expression)*
number ::= [0-9]+
singleLineComment ::= "//" [^\n]* "\n"
multiLineComment ::= "/*" ( [^*] | ("*" [^/]) )* "*/"
ws ::= ([ \t\n]+)
"#;
    let fitting = [
        "int main(){return 1+f(a, -2)*( x );}",
        "int f(char c){int intx = 1;x = y;while(a<=b){g ();}if(a==1){}else{return x;}// c\n/* * c */}",
        "",
    ];
    check(text, &fitting, &["int main()", "int main(){return1;}", "main(){}", "int f(){int x=1;}"]);
}

#[test]
fn what_is_wrong_is_said() {
    for (text, part) in [
        ("root ::= a", "there is no rule a"),
        ("a ::= \"a\"", "there is no rule root"),
        ("root ::= \"a", "line 1"),
        ("\n\nroot ::= \"a\" ]", "line 3"),
        ("root ::= ( \"a\"", "')' is missing"),
        ("root ::= \"a\"{3,1}", "{3,1}"),
        ("root ::= \"a\"{,3}", "without a number"),
        ("root ::= [z-a]", "range"),
        ("root ::= \"\\q\"", "\\q"),
        ("root ::= \"\\ud800\"", "d800"),
        ("root = \"a\"", "':' is missing"),
        ("root ::= \"a\"\nroot ::= \"b\"", "second rule root"),
        ("", "no rule root"),
    ] {
        let error = grammar(text).err().unwrap_or_else(|| panic!("{text:?}"));
        assert!(error.to_string().contains(part), "{text:?}: {error}");
    }
}

#[test]
fn what_has_no_end() {
    for text in [
        "root ::= \"a\" root",
        "root ::= root",
        "root ::= a\na ::= b \"x\"\nb ::= \"(\" a",
        "root ::= \"a\"+ root | root \"b\"",
    ] {
        assert!(matches!(grammar(text), Err(Error::Impossible { .. })), "{text}: {:?}", grammar(text).err());
    }
}

#[test]
fn what_is_too_much() {
    let deep = format!("root ::= {}\"a\"{}", "(".repeat(100_000), ")".repeat(100_000));
    let long = format!("root ::= \"{}\"", "a".repeat(100_000));
    let doubled: String = (0..64).map(|n| format!("r{n} ::= r{} r{}\n", n + 1, n + 1)).collect();
    let doubled = format!("root ::= r0\n{doubled}r64 ::= \"a\"");
    for text in [&deep, &long, "root ::= \"a\"{1000000}", "root ::= \"a\"{99999999999999999999}"] {
        assert!(matches!(grammar(text), Err(Error::Limit(_))), "{:?}", grammar(text).err());
    }
    // Bounded in any case.
    _ = grammar(&doubled);
    _ = grammar("root ::= (((\"a\"{50000}){50000}){50000}){50000}");
}
