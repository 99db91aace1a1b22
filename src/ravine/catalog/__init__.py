"""What ravine knows about its methods: names, papers, costs; `ravine list`, `show`, `cite`, and `ravine.create`.

bib          papers.bib as entries
docstring    the parts of a method's docstring
methods      a method's year, state and cost
literature   the defaults that the papers name, beside torch's
names        from what a person types to a method
create       from a name to an optimizer
cli          the commands
printed      what they print
"""
