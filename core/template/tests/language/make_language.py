#!/usr/bin/env python3
"""Writes expected.json: what Jinja2 makes of small templates that use each operator, filter, test, method and tag.

    pip install jinja2            # made with Jinja2 3.1.6 and Python 3.11
    python3 make_language.py

A list of [template, text], with null for the text where Jinja2 fails. The environment is that of
../published/make_expected.py. Left out are templates whose output names addresses (generators).
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "published"))

from make_expected import environment  # noqa: E402: of ../published

VALUES = ["'aBc'", "''", "' a\\n'", "'é-x y'", "'5'", "'-3.7'", "0", "7", "-2", "2.5", "1e15", "true", "none", "nope", "[]", "[3,1,2]",
          "['b','A','c']", "(1,)", "{}", "{'b':1,'A':[1.0]}", "[{'a':2,'b':'x'},{'a':1}]"]
FILTERS = """abs capitalize count d('z') default('z',true) default('z',boolean=true) dictsort dictsort(reverse=true) dictsort(by='value') e
escape first float float(1.5) indent indent(2,true) indent(width=3,first=true,blank=true) int int(9) items|list join join(',')
join('|',attribute='a') last length list lower map('upper')|list map(attribute='a')|list map(attribute='a',default=5)|list max min
reject|list rejectattr('a','equalto',1)|list replace('a','bb') replace('','-',2) reverse|list round round(1) round(0,'floor') safe
select|list select('string')|list selectattr('b','defined')|list selectattr('a','gt',1)|list sort sort(reverse=true)
sort(case_sensitive=true) sort(attribute='a') string sum sum(attribute='a') sum(start=10) title tojson tojson(indent=2)
tojson(ensure_ascii=true) tojson(separators=(',',':'),sort_keys=true) trim trim('a') unique|list upper""".split()
TESTS = """boolean callable defined divisibleby(2) eq(7) even false float ge(2) in([7,'5']) integer iterable le(2) lower mapping ne(0) none
number odd sequence string true undefined upper""".split()
STRINGS = ["'aXbXc'", "' a b  c\\n'", "'a,b,,c'", "\"it's Ünï ß\"", "'12'", "'l1\\r\\nl2\\x0bl3\\u2028\\n'", "''"]
METHODS = """strip() lstrip('a') rstrip('c\\n') split() split(',') split('X',1) split(none,1) rsplit('X',1) rsplit(none,1)
split(sep=',',maxsplit=1) splitlines() splitlines(true) removeprefix('a') removesuffix('c') upper() lower() title() capitalize()
isalpha() isdigit() isalnum() isspace() isupper() islower() isascii() isnumeric() isdecimal() startswith('a') startswith(('x','a'))
startswith('b',1) endswith(('c','d')) endswith('X',0,2) find('b') find('X',2) find('') rfind('X') index('a') count('X') count('')
replace('X','--') replace('X','--',1) replace('','-') join(['x','y']) join('pq') join([1]) format(1) nope()""".split()
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "<", "in", "and", "or"]
OPERANDS = "2 -3 2.5 0 'ab' true none nope [1] (2,) {'ab':1}".split()
ACCESSES = """[0] [-1] [9] ['b'] [1:] [:-1] [::-1] [::2] [5:1:-2] [-2:] [:0:-1] [0:0] .b .items()|list .keys()|list .values()|list .get('b')
.get('z') .get('z',4) .count('b') .index(1) .copy() .append(1)""".split()
EXPRESSIONS = r"""1 < 2 < 3|1 < 3 < 2|1 if nope|1 if nope else 2|'a' 'b'|not 1 == 2|1 + 2 * 3 ** 2|-2 ** 2|2 ** -1|2 ** 3 ** 2|7.5 // -2|
-7 % 3|1_000|0x1f|1e3|'' or 'y'|1 is not in [2]|'\u00e9\x41\101\n\q'|1e20|1e20 + 1|1/3|1e16|0.00001|-0.0|
5 // 0|1/0|true + 1|{'a':1,'a':2}|{1:2,none:3}|dict(a=1,b=2)|dict({'a':1},b=2)|dict([('a',1)])|namespace(a=1).a|range(3)|range(1,5,2)|
range(3) \| list|range(3) is sequence|range(3) \| length|range(3) \| sum|range(3) \| last|range(3) == range(0,3)|
range(5,0,-2)[1]|[[1,2],[3]] == [[1,2],[3.0]]|[1] == (1,)|[1,2] < [1,3]|'a' < 'B'|[nope]|{'k':nope}.k is defined|nope.x|nope['x']|{}.x.y|
none.x|'%s-%d%%' % ('a', 2)|'%s' % none|'{}{}'.format('a', none)|'{1}{0}{x}{{}}'.format(1, 2, x=3)|'{'.format(1)|
['a b\'c', "it's", '"', '\\', '\x7f\u200b\xa0\u2028é🦙\x00']|2.675 \| round(2)|1.115 \| round(2)|0.5 \| round|1.5 \| round|2.5 \| round|
1234.5 \| round(-2)|'0x1f' \| int(base=16)|' 1_0 ' \| int|'1e3' \| float|'inf' \| float|4.7 \| int|['a','B'] \| max|[] \| first|
'/' \| tojson|{'a':[],'b':{}} \| tojson(indent=2)|{1:2,true:3,none:4,'x':1.5} \| tojson|nope \| tojson|[1,2,3][1:] is sequence|
{'items':1}.items is callable|{'items':1}['items']|'abc'[1:][::-1]|(1,2)[0:1]|'x' is sameas 'x'|1 is sameas true|1 in range(3)""".replace("\n", "")
STATEMENTS = [
    "{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1) }}{{ f(1, b=3) }}{{ f(1, 2, 3, c=4) }}",
    "{% macro f(a) %}[{{ a }}]{% endmacro %}{{ f() }}", "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{% endmacro %}{{ f(b=1) }}", "{% macro f() %}<{{ caller(2) }}>{% endmacro %}{% call(x) f() %}x{{ x }}{% endcall %}",
    "{% set f = 1 %}{% macro g() %}{{ f }}{% endmacro %}{% set f = 2 %}{{ g() }}", "{% filter upper | replace('A', 'b') %}ab{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{% set x | upper %}a{{ 1 }}{% endset %}[{{ x }}]",
    "{% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }}", "{% set a, b = [1] %}", "{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}",
    "{% for i in range(5) if i is odd %}{{ loop.index }}{{ i }}{{ loop.last }} {% endfor %}",
    "{% for i in 'abc' %}{{ loop.cycle('x', 'y') }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.length }}{{ loop.depth }}{% endfor %}",
    "{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}",
    "{% for i in [1, [2, [3]]] recursive %}{% if i is iterable %}<{{ loop(i) }}>{% else %}{{ i }}{{ loop.depth }}{% endif %}{% endfor %}",
    "{% for i in [] %}{% else %}none{% endfor %}", "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1] %}{% for j in [2] %}{{ loop.index }}{% endfor %}{% set outer = loop %}{% for j in [2] %}{{ outer.length }}{% endfor %}{% endfor %}",
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "  {%- if true -%}  x  {%- endif -%}  y", "{{ 1 -}}  a  {{- 2 }}", "{#- c -#} x", "a {#+ c #} b",
    "   {%+ if true %}x{% endif %}", "{% if true +%}\nx{% endif %}", "  {% raw %} {{ x }} {%- endraw -%}  y", "\n\n{% set x = 1 %}\n\n{{ x }}\n\n",
    "\t{% if true %}\n\tx\n\t{% endif %}\n", "a\r\nb\rc", "{{ {'a': {'b': 1}}}}", "{{-1}}{{+1}}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}{{ ns }}", "{% set x = {} %}{% set x.a = 1 %}", "{% block a %}x{% endblock a %}",
    "{% if %}{% endif %}", "{% endif %}", "{{ 1 }", "{% break %}", "{% set x = 1", "{{ raise_exception('no') }}", "{% include 'x' %}", "{{ [1, 2,] }}{{ (1) }}{{ () }}",
    "{{ x(*[1], **{'a': 2}) }}", "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1], **{'b': 2}) }}", "{# a #}b{#- c -#}\n d",
]
# Where Jinja2 fails and we do not: its generators have no length, its sets take no lists, its strings no keywords.
LENIENT = ("generator", "unhashable", "keyword arguments")


def templates():
    for value in VALUES:
        yield "{{ (%s) }}{%% if (%s) %%}T{%% endif %%}" % (value, value)
        for what in [" | " + f for f in FILTERS] + [" is " + t for t in TESTS] + ACCESSES:
            # Through a variable: Jinja2 computes some of what is constant by other rules.
            yield "{%% set v = %s %%}{{ v%s }}" % (value, what)
    for text in STRINGS:
        for method in METHODS:
            yield "{{ [(%s).%s] }}" % (text, method)
    for operator in OPERATORS:
        for a in OPERANDS:
            for b in OPERANDS:
                yield "{{ (%s) %s (%s) }}" % (a, operator, b)
    for expression in EXPRESSIONS.replace(r"\|", "\0").split("|"):
        yield "{{ %s }}" % expression.replace("\0", "|")
    yield from STATEMENTS


def main():
    cases = []
    for template in dict.fromkeys(templates()):
        try:
            text = environment().from_string(template).render()
        except Exception as error:
            if any(word in str(error) for word in LENIENT):
                continue
            text = None
        if text is None or " at 0x" not in text:
            cases.append([template, text])
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "expected.json").write_text("[\n" + lines + "\n]\n")


main()
