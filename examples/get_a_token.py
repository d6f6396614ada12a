"""Get a token and ask who you are."""

from amparo_client import ask, token

me = ask("{ me { name roles permissions } }", bearer=token())["me"]
print(f"{me['name']} is {', '.join(me['roles'])} and may {', '.join(me['permissions'])}")
