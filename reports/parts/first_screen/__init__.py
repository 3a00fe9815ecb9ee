"""The first screen: the verdict, the broken equation, and the answers an on-call engineer needs."""
