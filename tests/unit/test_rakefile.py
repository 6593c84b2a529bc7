"""What a Rakefile lists, beside what `rake -AT` lists for it, and what it says about the rest."""

from pathlib import Path

import pytest

from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


IN_EVERY_FORM = """
task :symbol
task 'string' => :x
task "double": %w[x] do |t|
task key: [:x]
task :"quoted-symbol"
task(:brackets) { }
task({ braces: :x })
task(
  :next_line => :x)
task :arguments, [:a, :b] => :x do
multitask :several, :a
Rake::Task.define_task(:defined)
desc "of it"; task :described
x = task :kept
task :sure?
task :late if x
# task :no
tasks = 7
task = 8
task.invoke
Rake::Task[:no].invoke
task_name "no"
file = "no"
file.write "no"
"""

FILES = 'file "a/b.c" => :x\ndirectory "d/e"\ndirectory "f/"\nfile_create \'g\'\n'

NAMESPACES = """
namespace :a do
  task :one do
    puts <<~TEXT
task :no
    TEXT
  end
  namespace "b" do
    desc "x"
    task :two

    task "c:three" do
    end
  end
  def helper(name)
    x
  rescue
    y
  end
  def short = 1
  def shorter; end

  task :four
end
=begin
task :no
=end
task :five
__END__
task :no
"""

LIBRARIES = """
require "bundler/gem_tasks"
require 'rake/testtask'
require 'rspec/core/rake_task'
Rake::TestTask.new do |t|
  t.libs << "test"
end
namespace :all do
  Rake::TestTask.new(:unit) { |t| t.libs << "test" }
  Rake::TestTask.new("system" => :x)
  RSpec::Core::RakeTask.new
end
Rake::TestTask.new do |t|
  t.name = "named"
end
Minitest::TestTask.create
RuboCop::RakeTask.new rescue nil
RuboCop::RakeTask.new :lint do |t|
YARD::Rake::YardocTask.new
RDoc::Task.new(:docs) do
Gem::PackageTask.new(spec) do |pkg|
"""

FORMS = """symbol string double key quoted-symbol brackets braces next_line arguments several defined described kept
sure? late"""
OF_LIBRARIES = """build build:checksum install install:local release release:guard_clean release:rubygem_push
release:source_control_push clean clobber test all:unit all:system all:spec named test:cmd test:deps test:isolated
test:slow default rubocop rubocop:auto_correct rubocop:autocorrect rubocop:autocorrect_all lint lint:auto_correct
lint:autocorrect lint:autocorrect_all yard
docs clobber_docs redocs package repackage clobber_package gem"""

OF_ANOTHER_RUBY = """
if defined?(RUBY_ENGINE) and RUBY_ENGINE == 'jruby'
  task :jar do
  end
  namespace :java do
    task :x
  end
elsif RUBY_PLATFORM =~ /java/
  task :no
else
  task :extension
end
task :windows if x
namespace :a do
  if RUBY_ENGINE == "jruby"
    task :no
  end
  task :b
end
task :last
"""

TASKS = {
    "every form": (IN_EVERY_FORM, ",".join(FORMS.split())),
    "files": (FILES, "a/b.c,d,d/e,f/,g"),
    "namespaces": (NAMESPACES, "a:one,a:b:two,a:b:c:three,a:four,five"),
    "libraries": (LIBRARIES, ",".join(OF_LIBRARIES.split())),
    "what is for Ruby on Java": (OF_ANOTHER_RUBY, "extension,windows,a:b,last"),
    "braces for blocks": ("namespace(:a) {\n  task(:b) {\n  }\n}\ntask :c\n", "a:b,c"),
    "a text that only looks like a heredoc": ("y = x<<LIMIT\ntask :a\n", "a"),
}


@pytest.mark.parametrize(("text", "names"), TASKS.values(), ids=TASKS)
def test_a_rakefile_lists_what_rake_lists(project: Project, text: str, names: str) -> None:
    assert project.listed("Rakefile", text) == (names.split(","), [])


PROBLEMS = {
    "names in a loop": ("%w[a b].each do |name|\n  task name do\n  end\nend\ntask :c\n", "c", 2),
    "names made of others": ('task :a\ntask "b:#{x}" => :y\n', "a", 2),
    "a constant": ("task NAME => :x\n", "", 1),
    "a sum": ("task 'a' + 'b'\n", "", 1),
    "names of files": ("file output => input do\n", "", 1),
    "a list of names": ("task(*names)\n", "", 1),
    "a namespace from a loop": ("namespace name do\n  task :a\nend\ntask :b\n", "b", 1),
    "a method that makes tasks": ("def make(name)\n  task :a\nend\ntask :b\n", "b", 2),
    "a namespace in one line": ("namespace(:a) { task :b }\ntask :c\n", "c", 1),
    "a namespace that is not indented": ("task :a\nnamespace :b do\ntask :c\nend\ntask :d\n", "a", 2),
    "a library that Brummer does not know": ("task :a\nrequire 'resque/tasks'\n", "a", 2),
    "a class that Brummer does not know": ("Jeweler::Tasks.new do |gem|\nend\nThing::RakeTask.new(:a)\n", "", 1),
    "a library that makes many": ("task :a\n\nRake::ExtensionTask.new('x')\n", "a", 3),
    "a class with a name from elsewhere": ("Rake::TestTask.new(name) do |t|\nend\n", "", 1),
    "a block with a name from elsewhere": ("Rake::TestTask.new do |t|\n  t.name = name\nend\n", "", 1),
    "a file that is not there": ("task :a\nload 'gone.rake'\n", "a", 2),
    "files from elsewhere": ("paths.each { |f|\n  load f\n}\ntask :a\n", "a", 2),
    "rails": ("require_relative 'config/application'\nRails.application.load_tasks\n", "", 2),
    "a mark of a merge": ("task :a\n<<<<<<< HEAD\n", "a", 2),
}


@pytest.mark.parametrize(("text", "names", "line"), PROBLEMS.values(), ids=PROBLEMS)
def test_names_that_only_ruby_could_know_are_a_problem_with_its_line(
    project: Project, text: str, names: str, line: int
) -> None:
    found, problems = project.listed("Rakefile", text)
    assert (found, problems) == (names.split(), [("Rakefile", line)])


def test_the_files_that_a_rakefile_loads_are_read(project: Project) -> None:
    project.write("rakelib/own.rake", "task :own\n")
    project.write("tasks/a.rake", "namespace :a do\n  task :b\nend\nrequire_relative 'more/c'\n")
    project.write("tasks/more/c.rb", "task :c\n")
    project.write("extra/d.rake", "task :d\n")
    project.write("other/e.rake", "task e => x\n")
    project.write("lib/plain.rb", "load(path)\nfile name\n")
    text = (
        "Dir.glob('tasks/*.rake').each { |r| load r }\nRake.add_rakelib 'extra'\nimport 'other/e.rake'\n"
        "require './lib/plain'\nrequire 'json'\ntask :last\n"
    )
    names = ["last", "a:b", "c", "d", "own"]
    assert project.listed("Rakefile", text) == (names, [("other/e.rake", 1)])
    assert project.script("a:b").source == "tasks/a.rake"
    project.write("extra/f.rake", "task :f\n")
    assert "f" in project.commands(), "a file that comes is noticed"


def test_the_tasks_of_a_rails_application_are_those_of_its_files_and_some_of_libraries(project: Project) -> None:
    project.write("lib/tasks/shop/report.rake", "task report: :environment\n")
    found, problems = project.listed("Rakefile", "Rails.application.load_tasks\n")
    assert (found, problems) == (["report"], [("Rakefile", 1)])


def test_a_loaded_file_that_is_broken_is_a_problem_of_its_own(project: Project) -> None:
    (project.directory / "rakelib").mkdir()
    (project.directory / "rakelib" / "a.rake").write_bytes(b"task :a\n\xff\n")
    assert project.listed("Rakefile", "task :b\nload '../outside.rake'\n") == (
        ["b"],
        [("rakelib/a.rake", 2), ("Rakefile", 2)],
    )


@pytest.mark.parametrize(
    "fragment",
    [
        "task ",
        "task(",
        'task "',
        "namespace :a {",
        "namespace :a do\n",
        "<<~X\n",
        "=begin\n",
        "A::",
        "Dir['",
        "end ",
        "\t",
    ],
)
def test_a_hostile_rakefile_is_read_in_the_end(project: Project, fragment: str) -> None:
    """Quadratic work would take an hour."""
    project.listed("Rakefile", "task :first\n" + fragment * (200_000 // len(fragment)))
    assert next(iter(project.commands())) == "first"


@pytest.mark.parametrize("beginning", ["task", "task(", "def a"])
def test_blanks_before_what_is_no_name_are_searched_once(project: Project, beginning: str) -> None:
    project.listed("Rakefile", f"task :first\n{beginning}{' ' * 200_000}?\n")
    assert list(project.commands()) == ["first"]


@pytest.mark.parametrize(
    "line",
    ["directory '" + "a/" * 100_000 + "'", f"namespace :{'a' * 10_000} do\n  task :b\nend", f"task :{'a' * 10_000}"],
    ids=["directories", "a namespace", "a task"],
)
def test_names_longer_than_people_make_them_are_a_problem_and_no_tasks(project: Project, line: str) -> None:
    names, problems = project.listed("Rakefile", f"task :first\n{line}\n")
    assert (names, problems) == (["first"], [("Rakefile", 2 + line.count("\n") // 2)])


@pytest.mark.parametrize(
    "line", ["Dir.glob('../shared/*.rake').each { |file| load file }", "Rake.add_rakelib '../shared'"]
)
def test_files_that_lie_elsewhere_hide_no_task(project: Project, line: str) -> None:
    assert project.listed("Rakefile", f"task :a\n{line}\n") == (["a"], [("Rakefile", 2)])
