<?php
// Calls methods of a page of SynchWeb's own (Imaging, Sample) on an ISPyB, and prints what it answers as JSON.
//     php in_synchweb.php SYNCHWEB/api/src PORT PROPOSALID PAGE METHOD ARGUMENTS
namespace Slim {
    class Slim {}
}
namespace SynchWeb {
    class Utils { static function returnError($title, $msg) { throw new \Exception("$title: $msg"); } }
    class ImagingShared {}
    class Page {
        public $db, $proposalid, $args = array(), $answer = null;
        function args($args) { $this->args = $args; }
        function has_arg($name) { return array_key_exists($name, $this->args); }
        function arg($name) { return $this->args[$name]; }
        function _output($what) { $this->answer = $what; }
        function _error($what) { throw new \Exception($what); }
    }
}
namespace {
    list(, $source, $port, $proposal, $name, $method, $arguments) = $argv;
    foreach (array('Database/DatabaseParent', 'Database/Type/MySQL', "Page/$name") as $file) require "$source/$file.php";
    $page = (new \ReflectionClass("SynchWeb\\Page\\$name"))->newInstanceWithoutConstructor();
    $page->db = new \SynchWeb\Database\Type\MySQL(new \mysqli('127.0.0.1', 'root', '', 'ispyb', (int) $port));
    $page->proposalid = (int) $proposal;
    $page->args(json_decode($arguments, true));
    $call = new \ReflectionMethod($page, $method);
    $call->setAccessible(true);
    $call->invoke($page);
    echo json_encode($page->answer);
}
