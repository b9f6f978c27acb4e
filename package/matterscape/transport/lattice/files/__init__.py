"""Force constants of other codes: :func:`~matterscape.transport.lattice.files.reading.read_lattice` reads a folder.

Modules are imported one by one: ``reading``, and one for each family of formats.
"""
