"""Expressions that `select` must refuse: attempts to escape, and such as would take long."""

ESCAPES = r"""
open({path!r}, 'w')
__import__('os').mkdir({path!r})
thin.tofile({path!r})
thin.__class__.__base__.__subclasses__()
().__class__
thin[open({path!r}, 'w')]
thin[0]
f'{{open({path!r}, "w")}}'
f'{{thin}}' == 'True'
(lambda: open({path!r}, 'w'))()
lambda: thin
[open({path!r}, 'w') for x in [1]]
{{open({path!r}, 'w') for x in [1]}} == 1
(found := open({path!r}, 'w'))
(thin := cirrus)
await open({path!r}, 'w')
(yield thin)
@thin
@open({path!r}, 'w')
thin if open({path!r}, 'w') else cirrus
annotator in [open({path!r}, 'w')]
difficulty in [*difficulty]
difficulty ** 99999999 ** 99999999 > 0
'A' * 999999999 == annotator
difficulty << 99999999999 > 0
__builtins__
__import__
`__class__`
`open({path!r}, 'w')`
`thin) or open({path!r}, 'w') or (thin`
thin; open({path!r}, 'w')
import os
thin == b'a'
difficulty == 1j
difficulty == None
difficulty == ...
""".strip().splitlines()

LOOK_ALIKES = [
    "th\u0456n",  # a Cyrillic i
    "\uff4fpen({path!r}, 'w')",  # a full-width o, which Python reads as a plain one
    "annotator == \u201cA\u201d",
    "thin\u00a0and cirrus",
    "thin \u2227 cirrus",
    "thin\x00",
    "thin\nimport os",
    "\ud800",
]

BLOWN_UP = [
    "9**9**9 > 0",
    "difficulty > 9**9**9",
    "(" * 100_000 + "thin" + ")" * 100_000,
    "not " * 100_000 + "thin",
    "thin and " * 100_000 + "thin",
    "'" + "A" * 10_000_000 + "' == annotator",
    "difficulty == " + "9" * 3900 + ".__class__",
    "a" * 3999,
    "`" + "a" * 3990 + "`",
    "thin\x00 or True",
    "annotator in [" + ",".join(["'A'.upper()"] * 300) + "]",
]
