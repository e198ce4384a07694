#!/usr/bin/env python3
"""Writes expected.json: what Jinja2 makes of small templates that use each operator, filter, test, method and tag.

    pip install jinja2            # made with Jinja2 3.1.6 and Python 3.11
    python3 make_language.py

A list of [template, text], with null for the text where Jinja2 fails. The environment is that of
../published/make_expected.py. Left out are templates whose output names addresses (generators).
"""
import json
import pathlib
import re
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
# Formats of numbers and texts: `%` and `str.format`, each with each value.
PERCENTS = "%d %5d %-5d| %05d %+d %+05d % d %i %u %x %X %#x %o %c %s %5s %-5s| %.2s %r %f %.2f %08.3f %+.1f %-8.1f| %.0f %5.1f%% %*d %q %".split()
FORMATS = """{} {:5} {:<5} {:>5} {:^5} {:*^9} {:05} {:+} {:+d} {:d} {:5d} {:05d} {:,} {:_} {:,.2f} {:x} {:#x} {:X} {:b} {:#b} {:o} {:c} {:f} {:.2f}
{:08.2f} {:+.1f} {:.0f} {:%} {:.1%} {:s} {:5s} {:.1s} {!r} {!s:>8} {!r:^8} {0} {0:>{1}} {:{}} {x} {0[a]} {0.a} {0[0]} {:q} {} {0:=+5}""".split()
NUMBERS = "7 -42 0 true 3.14159 -0.5 2.5 1e20 0.125 1234567 1234567.891 'ab' 'é' none [1] {'a':5} nope".split()
BUILTINS = r"""'one two three four five'|truncate(9)|'abcdef'|truncate(3)|'abc def ghi jkl'|truncate(8,true)|'abc def ghi'|truncate(5,false,'…',0)|
'abc def ghi'|truncate(5,leeway=0)|'abc def ghi'|truncate(2)|'abc'|truncate|('a b ' * 200)|truncate|'a b  c'|wordcount|"it's ünï_x, 3-4"|wordcount|''|wordcount|
[1,2,3]|batch(2)|list|[1,2,3]|batch(2,'x')|list|range(7)|batch(3,0)|list|[]|batch(2)|list|[1,2]|batch(0)|list|[1,2]|batch(-1,5)|list|'abc'|batch(2)|list|
range(7)|slice(3)|list|range(7)|slice(3,'x')|list|[1]|slice(3)|list|[1,2]|slice(2,9)|list|[]|slice(2)|list|[1]|slice(0)|list|[1]|slice(-1)|list|
'ab'|center(7)|'abc'|center(6)|'ab'|center|'ab'|center(1)|5|center(4)|'<a>'|forceescape|
[{'a':1,'b':2},{'a':2},{'a':1}]|groupby('a')|list|([{'a':1},{'a':2}]|groupby('a')|first).grouper|([{'a':1},{'a':1}]|groupby('a')|first).list|length|
[{'a':'B'},{'a':'b'},{'a':'A'}]|groupby('a')|list|[{'a':'B'},{'a':'b'}]|groupby('a',case_sensitive=true)|list|[{'a':1},{}]|groupby('a',default=0)|list|
[[1,2],[1,3]]|groupby(0)|list|[{'a':{'b':1}}]|groupby('a.b')|map('first')|list|(1,2).grouper|(1,2).list|
0|filesizeformat|1|filesizeformat|999|filesizeformat|1000|filesizeformat|1024|filesizeformat(true)|1e6|filesizeformat|1234567|filesizeformat|123456789|filesizeformat(true)|
'2000'|filesizeformat|1e30|filesizeformat|'x'|filesizeformat|1048576|filesizeformat(binary=true)|1e27|filesizeformat|
'a b/c?d=é&~'|urlencode|{'a b':'c/d','e':1}|urlencode|[('a','b'),('c',none)]|urlencode|''|urlencode|5|urlencode"""
STRING_METHODS = """partition('X') partition('q') rpartition('X') rpartition('q') partition('') ljust(9) ljust(9,'.') rjust(9) rjust(9,'é') center(9) center(8,'*')
center(2) ljust(9,'ab') zfill(9) zfill(2) casefold() swapcase() expandtabs() expandtabs(4) expandtabs(0) isprintable() istitle()""".split()
MORE_STRINGS = STRINGS + ["'a\tb\tcd\n\te'", "'-12'", "'+3'", "'Straße ς ı İ ﬁ'", "'The Quick'", "'Hi There you'", "'İx'", "'X'"]
MORE_STATEMENTS = [
    "{% set a = [1] %}{{ a[] is undefined }}", "{{ {'b': 1}[] }}", "{% set a = 'x' %}{{ a[] }}", "{{ nope[] }}", "{{ {(1, 2): 3}[1, 2] }}",
    "{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.current }}",
    "{% set c = cycler(1) %}{{ c.next() }}{{ c.next() }}{{ c.current }}", "{{ cycler() }}", "{% set c = cycler(1, 2) %}{{ c.nope is defined }}",
    "{% set j = joiner() %}{% for x in 'abc' %}{{ j() }}{{ x }}{% endfor %}", "{% set j = joiner('|') %}{{ j() }}{{ j() }}{{ j() }}",
    "{% set j = joiner(sep=' ') %}[{{ j() }}][{{ j() }}]",
    "{% for g in [{'a':1},{'a':2},{'a':1}]|groupby('a') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}",
    "{% for k, v in [{'a':1},{'a':2},{'a':1}]|groupby('a') %}{{ k }}={{ v }};{% endfor %}",
    "{% for i in [1, 2] %}{% break %}{% else %}none{% endfor %}", "{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}none{% endfor %}",
    "{% for i in [1, 2] %}{% continue %}{% else %}none{% endfor %}", "{% for a in [1] %}{% for i in [1] %}{% break %}{% else %}{% break %}{% endfor %}x{% endfor %}", "{% for i in [1, 2] if i > 5 %}x{% else %}none{% endfor %}",
    "{{ '%(a)s-%(b)03d' % {'a': 'x', 'b': 7} }}", "{{ '%(c)s' % {'a': 1} }}", "{{ '%s %s' % ('a',) }}", "{{ '%s' % ('a', 'b') }}", "{{ '%d' % 'a' }}",
    "{{ '%5.1f|%-6s|%+d' % (3.14159, 'ab', 5) }}", "{{ '%s is %d' | format('x', 3) }}", "{{ '%(x)s' | format(x=3) }}", "{{ '%s' | format(3, x=3) }}",
    "{{ '{:>{w}.{p}f}'.format(3.14159, w=8, p=2) }}", "{{ '{a[b][0]}{c.d}'.format(a={'b': [1]}, c={'d': 2}) }}", "{{ '{'.format() }}", "{{ '}'.format() }}",
    "{{ '{:.3f}'.format(1) }}", "{{ '{:.20f}'.format(0.1) }}", "{{ '%.30f' % 1e-10 }}", "{{ '%.1f' % 0.25 }}{{ '%.1f' % 0.35 }}{{ '%.0f' % 0.5 }}{{ '%.0f' % 1.5 }}",
    "{{ '%f' % 1e300 }}", "{{ '{:,}'.format(-1234567) }}{{ '{:_x}'.format(1048576) }}", "{{ '{:*<6}|{:*>6}|{:*^6}|'.format('ab', 'ab', 'ab') }}",
    "{{ '%%' % () }}{{ '100%' }}", "{{ 'a' if 'b' is filter else 'c' }}{{ 'truncate' is filter }}",
]
# Jinja2 has them and we have not: an error here (lib.rs says why).
ABSENT = ["{{ '%%%s' %% 1.5 }}" % kind for kind in "eEgGa"] + ["{{ '{:%s}'.format(1.5) }}" % kind for kind in ("e", "g", "n", ".2", "010,")] + [
    "{{ ['a'] | random }}", "{{ 'a' | pprint }}", "{{ '<b>a</b>' | striptags }}", "{{ 'a.org' | urlize }}", "{{ 'a b' | wordwrap(1) }}", "{{ {'a': 1} | xmlattr }}",
    "{{ lipsum() }}", "{{ 'a'.isidentifier() }}", "{{ 'a'.format_map({}) }}", "{{ 'a'.encode() }}", "{{ 'a'.translate({}) }}", "{{ {}.fromkeys([1]) }}",
]
# Where Jinja2 fails and we do not: its generators have no length, its sets take no lists, its strings no keywords.
LENIENT = ("generator", "unhashable", "keyword arguments")


def builtins():
    """What BUILTINS has in lines: an expression ends where one line's bar is followed by an operand."""
    return re.split(r"\|(?=[\['\"({0-9]|joiner|cycler)", BUILTINS.replace("\n", ""))


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
    for value in NUMBERS:
        for format in PERCENTS:
            yield "{{ '[%s]' %% (%s) }}" % (format, value)
        for format in FORMATS:
            yield "{{ '[%s]'.format(%s, 6) }}" % (format, value)
    for text in MORE_STRINGS:
        for method in STRING_METHODS:
            yield "{{ [(%s).%s] }}" % (text, method)
    yield from MORE_STATEMENTS
    yield from ABSENT
    for expression in builtins():
        yield "{{ %s }}" % expression


def main():
    cases = []
    for template in dict.fromkeys(templates()):
        try:
            text = environment().from_string(template).render()
        except Exception as error:
            if any(word in str(error) for word in LENIENT):
                continue
            text = None
        if template in ABSENT:
            text = None
        if text is None or " at 0x" not in text:
            cases.append([template, text])
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "expected.json").write_text("[\n" + lines + "\n]\n")


main()
