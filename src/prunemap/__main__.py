"""python -m prunemap"""

from prunemap.cli import main

main()
