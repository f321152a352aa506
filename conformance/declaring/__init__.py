"""The words in which a gateway declares itself, with what each of them means.

Two tables: `Capability`, what a gateway has or has not, and `OPTIONS`, where good gateways differ. By these words the
catalogue says when a requirement applies; `gateway-conformance capabilities`, `gateway-conformance options` and
docs/declaring.md are made of them. A word that no check reads has no place here.
"""

from conformance.declaring.capabilities import Capability, wrong_capabilities
from conformance.declaring.options import GATEWAY_WIDE, OPTIONS, Option, wrong_option

__all__ = ["GATEWAY_WIDE", "OPTIONS", "Capability", "Option", "wrong_capabilities", "wrong_option"]
