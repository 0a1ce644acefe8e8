"""What the server knows about the shape of objects: one source for decoding, merging, field ownership and protobuf.

Built-in kinds come from ``types.txt`` (made by ``generate.py`` from the sources of
Kubernetes 1.33), custom ones from the schema in their CustomResourceDefinition.
"""

from __future__ import annotations

from lab.emulator.kube.schema.builtin import kind_name, of_resource, struct
from lab.emulator.kube.schema.custom import from_openapi
from lab.emulator.kube.schema.types import ANY, Field, Type

__all__ = ["ANY", "Field", "Type", "from_openapi", "kind_name", "of_resource", "struct"]
