"""Compares the rows of src/operators/*.rs with the operator schemas of the `onnx` package (1.23.2 was used).

    python core/graph/tools/operators.py            prints every row that differs or is missing
    python core/graph/tools/operators.py --changes  prints what changed at each version, by the schemas alone

The comparison covers names, versions and the element types of outputs. The changes in the rows were classified
by hand from the output of `--changes` and the texts of the schemas. A missing row is printed ready to paste.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

import onnx
from onnx import defs

ROWS = Path(__file__).resolve().parent.parent / "src" / "operators"
DTYPES = {
    "tensor(float)": "F32", "tensor(double)": "F64", "tensor(float16)": "F16", "tensor(bfloat16)": "BF16",
    "tensor(int64)": "I64", "tensor(int32)": "I32", "tensor(int16)": "I16", "tensor(int8)": "I8",
    "tensor(uint64)": "U64", "tensor(uint32)": "U32", "tensor(uint16)": "U16", "tensor(uint8)": "U8",
    "tensor(bool)": "Bool",
}


def schemas():
    found = defaultdict(dict)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name][schema.since_version] = schema
    return found


def types(schema, port):
    constraints = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    return constraints.get(port.type_str, {port.type_str})


def outputs(schema):
    """For each output: the input whose type it has, or its one possible type, or open."""
    rules = []
    for output in schema.outputs:
        same = [i for i, x in enumerate(schema.inputs) if x.type_str == output.type_str and "T" in x.type_str]
        allowed = types(schema, output)
        if len(allowed) == 1 and (only := DTYPES.get(next(iter(allowed)))):
            rules.append(f"Is(DType::{only})")
        elif same:
            rules.append(f"Like({same[0]})")
        else:
            rules.append("Open")
    while rules and rules[-1] == "Open":
        rules.pop()
    return ", ".join(rules)


def rows():
    """Name to versions and output types, as the Rust source has them; the types are None where a rule has them."""
    found = {}
    for path in sorted(ROWS.glob("*.rs")):
        for row in re.split(r"(?=\bop\(\")", path.read_text()):
            head = re.match(r'op\("(\w+)", &\[([\d, ]*)\]\)', row)
            if not head:
                continue
            row = row.split(",\n];")[0]
            listed = re.search(r"\.outputs\(&\[(.*?)\]\)", row)
            ruled = ".all_outputs(" in row or ".subgraph_outputs(" in row
            types_ = None if ruled else listed[1] if listed else "Like(0)"
            found[head[1]] = ([int(version) for version in head[2].split(",")], types_)
    return found


def compare(found):
    written = rows()
    for name in sorted(set(written) - set(found)):
        print(f"{name}: the schemas have no such operator")
    for name in sorted(found):
        versions = sorted(found[name])
        expected = outputs(found[name][versions[-1]])
        if name not in written:
            types_ = "" if expected == "Like(0)" else f".outputs(&[{expected}])"
            print(f'missing:  op("{name}", &{versions}){types_},')
            continue
        row_versions, row_types = written[name]
        if row_versions != versions:
            print(f"{name}: versions {row_versions}, expected {versions}")
        if row_types not in (None, expected):
            print(f"{name}: outputs [{row_types}], expected [{expected}]")
    print(f"compared {len(written)} rows with {len(found)} operators; the newest opset is {defs.onnx_opset_version()}")


def changes(found):
    for name in sorted(found):
        versions = sorted(found[name])
        for old, new in zip(versions, versions[1:]):
            a, b = found[name][old], found[name][new]
            notes = ["deprecated"] if b.deprecated else []
            for side in ("inputs", "outputs"):
                x, y = list(getattr(a, side)), list(getattr(b, side))
                notes += [f"{side}: {len(x)} -> {len(y)}"] if len(x) != len(y) else []
                for p, q in zip(x, y):
                    notes += [f"{q.name}: {p.option.name} -> {q.option.name}"] if p.option != q.option else []
                    notes += [f"{q.name}: types lost"] if not types(a, p) <= types(b, q) else []
            for key in sorted(set(a.attributes) | set(b.attributes)):
                p, q = a.attributes.get(key), b.attributes.get(key)
                if p is None or q is None:
                    notes.append(f"attribute {'+' if p is None else '-'}{key}")
                elif (p.required, p.type, p.default_value) != (q.required, q.type, q.default_value):
                    notes.append(f"attribute {key}: default or kind changed")
            words = "" if a.doc.strip() == b.doc.strip() else "  [text differs]"
            print(f"{name} {old} -> {new}: {'; '.join(notes) or 'types only'}{words}")


(changes if "--changes" in sys.argv else compare)(schemas())
