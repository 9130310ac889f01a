import sys

from rec_align.cli.main import main

sys.exit(main())
