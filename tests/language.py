"""Words and patterns to avoid in what a user reads, each with a better one.

`test_language.py` checks the messages in src/kerasport, the help, the README and the docs. A
pattern is a regular expression that ignores case. Make each one so specific that it does not match
plain English.
"""

from __future__ import annotations

from collections.abc import Mapping

AVOID: Mapping[str, str] = {
    # archaic words
    r"\bheed(s|ed|ing)?\b": "use, read, support",
    r"\b(wherein|whereby|therein|thereby|hereby|thereof|whereof)\b": "in which, by which, of it",
    r"\b(whilst|amongst|upon|lest|hence|albeit)\b": "while, among, on, so that … not, so, although",
    r"\b(save|but) for\b": "except for",
    r"\b(nothing|none) but\b": "only",
    r"\bbe it\b": "even if it is",
    r"\bfor want of\b": "because … is missing",
    r"\bin silence\b": "silently",
    r"\bword for word\b": "unchanged",
    r"\bfor ever\b": "forever",
    r"\bper cent\b": "percent",
    r"\banew\b": "again",
    r"\bof so many\b": "this number of",
    r"\bof (its|their) own\b": "separate, its own …",
    # things that do not speak
    r"\btold\b": "given, specified, reported",
    r"\btells? (of|it|them|alike|so)\b": "report, say",
    r"\b(nothing|which|that|shapes?|files?|sizes?) (would )?tells?\b": "determine, say",
    # ellipses and inversions
    r"\b(has|have|had) not\b(?! (yet|been|changed|started|finished))": "does not have",
    r"\b(knows?|takes?|reads?|makes?|gives?|holds?|needs?|wants?) not\b"
    r"(?= *[.;:,)]|$)": "does not …",
    r"\b(takes?|reads?|makes?|knows?|gives?|holds?) (none|no others?)\b": "does not …",
    r"\b(is|are) no (objects?|lists?|numbers?|matrix|arrays?|multiple|"
    r"pattern|order|directory|names?|files?|cell)\b": "is not a …",
    # prepositions
    r"\bbeside\b": "next to, in addition to, besides",
    r"(?<!left )(?<!leave )\bbehind\b": "after",
    r"\bof before\b": "previous",
    r"\bin (an)?other ways? than\b": "differently from",
    r"\bas (ever|of old)\b": "as before, unchanged",
    r"\b(behind|after) the other\b": "in order, consecutive",
    # verbs
    r"\b(is|are) to be\b": "must be",
    r"\b(takes?|taken|took) down\b": "record",
    r"\bstands? (for|against|behind|below|in the place)\b": "represent, replace, be in",
    r"\bhand(s|ed)? (it|them|that|on|masks?|over)\b": "pass on",
    r"\b(is|are) (left|taken) out\b": "is not included, is removed",
    r"\b(leave|leaving|left) (it |them |this |that )?out\b": "omit",
    r"\b(left|leave) to the graph-model\b": "use --to tfjs-graph",
    r"\bwork(s|ed|ing)? out\b": "compute, infer",
    r"\bwhat (\w+ |TF\.js )?(makes?|made) of\b": "how … converts, reads",
    r"\bbrought to\b": "converted to, moved to",
    r"\btaken for\b": "confused with, read as",
    r"\bholds? (NaN|no|its|config|the|a|an|all)\b": "contain, have",
    r"\bcannot hold\b": "does not support, cannot store",
    r"\bmakes? (other|different|another) "
    r"(numbers?|results?|values?)\b": "compute different results",
    r"\b(is|are) gone\b": "was removed",
    r"\b(is|are) there already\b": "already exists",
    r"\b(is|are) formed as\b": "has the structure of",
    r"\bput together (of|from)\b": "combine",
    # terms of the field
    r"\btruth values?\b": "bool",
    r"\bcuts? (its )?fractions\b": "truncate",
    r"\b(no lowering|is lowered only)\b": "is not supported",
    r"\bexact translation\b": "cannot be converted exactly",
    r"\bat run time only\b": "only when the model runs",
    r"\b(has|have) to be known at conversion\b": "must be fixed",
    # one spelling everywhere
    r"\b(quanti|normali|equali|initiali|optimi|organi|recogni|seriali|summari|minimi|maximi|generali|speciali|"
    r"standardi|customi|reali|randomi|vectori|tokeni|utili|regulari)"
    r"s(e|es|ed|er|ers|ing|ation|ations)\b": "-ize, -ization",
    r"\b(analys(e|es|ed)|colour(s|ed|ing)?|behaviours?|centre[sd]?|grey|licences?|neighbour(s|ing|hood)?|"
    r"favour(s|ed|ite)?|artefacts?|travell(ed|ing)|towards|labelled|"
    r"modelling|honour(s|ed)?)\b": "American spelling",
}
"""Pattern → what to write instead."""

NAMES: Mapping[str, str] = {
    "made": "the noun: y, plan, kernel",
    "at": "axis, index, path, offset",
    "each": "the noun: layer, tensor, operand",
    "given": "arguments, options, inputs",
    "said": "the noun",
    "asked": "the noun",
    "told": "the noun",
    "beside": "after, right, companion",
    "behind": "after",
}
"""Names of variables that say only that something was computed → names that say what it is."""

CODE = r"`[^`]*`|\{[^{}]*\}|https?://\S+|--[\w-]+|<[^>]*>"
"""What is not prose: code, placeholders, addresses, options, tags."""
