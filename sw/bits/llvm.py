# SPDX-License-Identifier: Apache-2.0
"""What the vector kernels of the searches share: LLVM types, loads and stores of array elements."""

from typing import Any

from llvmlite import binding, ir

__all__ = ["I8", "I16", "I32", "I64", "declared", "element", "has_feature", "load", "pick", "store"]

I8, I16, I32, I64 = (ir.IntType(n) for n in (8, 16, 32, 64))


def has_feature(name: str) -> bool:
    """Whether this processor has a feature, by LLVM's name."""
    return bool(binding.get_host_cpu_features().get(name))


def declared(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Return an LLVM or machine intrinsic, declared in the module that is being built."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def element(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: Any) -> Any:
    """Return the address of ``array[at]`` as that of a vector."""
    data = context.make_array(kind)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def load(builder: Any, pointer: Any) -> Any:
    """Load a vector from any address."""
    value = builder.load(pointer)
    value.align = 1
    return value


def store(builder: Any, value: Any, pointer: Any) -> None:
    """Store a vector at any address."""
    builder.store(value, pointer).align = 1


def pick(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    """Return the elements of two vectors, one after the other, that stand in ``places``."""
    mask = ir.Constant(ir.VectorType(I32, len(places)), places)
    return builder.shuffle_vector(a, b, mask)
